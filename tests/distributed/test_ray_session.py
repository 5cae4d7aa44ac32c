"""Starting Ray here: beside one that an earlier command left, and where it cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.support.small_disk import small_disk

ROOT = Path(__file__).parents[2]
START = """
from jobs._runner import exit_code, quiet_libraries
quiet_libraries()
from qa_lib.machines.ray_session import begin_ray, start_ray
if {begins}:
    begin_ray()
exit_code_of = exit_code(lambda: start_ray(num_cpus=1))
import ray
if ray.is_initialized():
    print(ray.get_runtime_context().gcs_address, len(ray.nodes()))
raise SystemExit(exit_code_of)
"""


FAIL = """
from jobs._runner import exit_code
from qa_lib.errors import DataError
from qa_lib.machines.ray_session import begin_ray, end_process

def fail():
    begin_ray()
    import ray
    while ray._private.worker._global_node is None:  # until the first of its processes run
        pass
    raise DataError("no rows", "Add some.")

end_process(exit_code(fail))
"""


def start(
    code: str = START.replace("{begins}", "False"), **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.usefixtures("ray_session")
def test_a_ray_that_runs_here_already_is_not_joined():
    import ray

    done = start()
    assert done.returncode == 0, done.stderr
    address, num_nodes = done.stdout.split()
    assert address != ray.get_runtime_context().gcs_address
    assert num_nodes == "1"


@pytest.mark.parametrize("begins", ["False", "True"])
def test_without_a_folder_for_its_files_ray_is_refused(tmp_path: Path, begins: str):
    occupied = tmp_path / "file"
    occupied.touch()
    done = start(START.replace("{begins}", begins), RAY_TMPDIR=str(occupied))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "RAY_TMPDIR" in done.stderr and "Traceback" not in done.stderr


def test_a_start_that_was_begun_is_the_one_that_is_used():
    done = start(START.replace("{begins}", "True"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "1" and "Traceback" not in done.stderr


def test_a_command_that_fails_while_ray_starts_ends_what_has_started():
    with tempfile.TemporaryDirectory() as folder:  # short: Ray makes sockets in it
        done = start(FAIL, RAY_TMPDIR=folder)
        assert (done.returncode, done.stderr) == (2, "error: no rows\n  Add some.\n")
        assert list(Path(folder, "ray").glob("session_2*/logs/gcs_server.out")), "it had begun"
        started = [
            process
            for process in psutil.process_iter(["cmdline"])
            if folder in " ".join(process.info["cmdline"] or ())
        ]
        assert psutil.wait_procs(started, timeout=30)[1] == []


def test_a_full_disk_is_refused_before_ray_waits_for_it(tmp_path: Path):
    with small_disk(tmp_path / "disk", "64k") as folder:
        done = start(RAY_TMPDIR=str(folder))
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{folder}, which has 0.1 MiB free" in done.stderr and "Traceback" not in done.stderr
