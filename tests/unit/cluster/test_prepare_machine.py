"""What a machine on Google Cloud runs before its container: it waits for the GPU, and logs in."""

from __future__ import annotations

import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from cluster import gcp

ENVIRONMENT = {"PROJECT": "my-project"}


def prepare(tmp_path: Path, commands: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command that Ray sends to a machine, where only these commands exist."""
    (command,) = gcp.cluster_config(ENVIRONMENT)["initialization_commands"]
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "grep", "id", "cat"):
        (programs / name).symlink_to(Path(f"/usr/bin/{name}"))
    log = f'echo "$(basename $0) $*" >> {shlex.quote(str(tmp_path / "log"))}\n'
    for name, body in commands.items():
        (programs / name).write_text(
            f"#!/usr/bin/bash\n{log}{body}\n".replace("basename", "/usr/bin/basename")
        )
        (programs / name).chmod(stat.S_IRWXU)
    return subprocess.run(
        ["/usr/bin/bash", "-c", command],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
    )


MACHINE = {
    "sudo": '"$@"', "systemctl": "", "docker": "echo Runtimes: nvidia runc",
    "lspci": "echo NVIDIA T4",
    "nvidia-smi": "", "gcloud": "", "timeout": 'shift; "$@"', "chgrp": "",
}  # fmt: skip


def test_a_machine_with_all_of_it_is_ready(tmp_path):
    assert prepare(tmp_path, MACHINE).returncode == 0
    log = (tmp_path / "log").read_text().splitlines()
    assert log[-1] == "gcloud auth configure-docker us-central1-docker.pkg.dev --quiet"
    assert not any("apt-get" in line or "nvidia-ctk" in line for line in log)


@pytest.mark.parametrize(
    ("without", "changed", "says"),
    [
        ("docker", {"apt-get": "exit 1"}, "Docker is neither"),
        ("", {"docker": "exit 1", "timeout": "exit 124"}, "Docker does not start"),
        (
            "",
            {"nvidia-smi": "exit 1", "timeout": 'case "$*" in *nvidia-smi*) exit 124;; esac'},
            "driver",
        ),
        ("", {"docker": "echo Runtimes: runc"}, "nvidia-container-toolkit"),
        ("gcloud", {}, "no gcloud"),
    ],
)
def test_a_machine_that_lacks_something_says_so_and_ends(tmp_path, without, changed, says):
    commands = {name: body for name, body in (MACHINE | changed).items() if name != without}
    ended = prepare(tmp_path, commands)
    assert ended.returncode == 1
    assert says in ended.stderr
