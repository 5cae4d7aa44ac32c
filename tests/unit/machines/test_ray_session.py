"""Starting Ray here: beside one that an earlier command left, and where it cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.small_disk import small_disk

ROOT = Path(__file__).parents[3]
START = """
from jobs._runner import exit_code, quiet_libraries
quiet_libraries()
from qa_lib.machines.ray_session import start_ray
exit_code_of = exit_code(lambda: start_ray(num_cpus=1))
import ray
if ray.is_initialized():
    print(ray.get_runtime_context().gcs_address, len(ray.nodes()))
raise SystemExit(exit_code_of)
"""


def start(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-c", START],
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


def test_without_a_folder_for_its_files_ray_is_refused(tmp_path: Path):
    occupied = tmp_path / "file"
    occupied.touch()
    done = start(RAY_TMPDIR=str(occupied))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "RAY_TMPDIR" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_is_refused_before_ray_waits_for_it(tmp_path: Path):
    with small_disk(tmp_path / "disk", "64k") as folder:
        done = start(RAY_TMPDIR=str(folder))
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{folder}, which has 0.1 MiB free" in done.stderr and "Traceback" not in done.stderr
