"""A job by Slurm's script on two nodes of loopback: Slurm's commands start processes here."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from qa_lib.machines.ray_session import LOOPBACK_ONLY
from tests.support.processes import running

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# What the script asks of Slurm; `ray start` listens on 127.0.0.1 alone.
STAND_INS = {
    "scontrol": 'echo "$@" >&2; echo 127.0.0.1; echo 127.0.0.1',
    "srun": """
while [ "${1#--}" != "$1" ]; do shift; done
pids=()
for rank in 0 1; do SLURM_PROCID=$rank "$@" & pids+=($!); done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit "$code"
""",
    "python": f"""
if [ "$2" = ray.scripts.scripts ]; then
    shift 2
    set -- -m cluster.loopback_node "$@" --node-ip-address 127.0.0.1
else
    export {LOOPBACK_ONLY}=0  # a driver joins 127.0.0.1, not this machine's other address
fi
exec {sys.executable} "$@"
""",
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script with two nodes."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (programs / name).chmod(stat.S_IRWXU)
    # The session's own Ray sets the last of them: with it, `ray start` refuses a second node.
    left_out = {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", LOOPBACK_ONLY}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": str(programs / "python"),
        "HOME": str(home),
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "2",
        "JOIN_S": "240",
    }


def flags(storage: Path, name: str, num_steps: int) -> list[str]:
    return f"""train --storage {storage} --run-name {name} --train.num-workers 2
        --train.cpus-per-worker 1.5 --train.max-steps {num_steps} --train.epochs 999
        --data.train-limit 400 --data.eval-limit 16""".split()


def result(storage: Path, name: str) -> dict:
    return json.loads((storage / name / "result.json").read_text())


def remains(environment: dict[str, str]) -> list[psutil.Process]:
    """Return the processes that a job has left: all have the batch script's environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended
            if process.environ().get("HOME") == environment["HOME"]:
                found.append(process)
    return found


def test_two_nodes_train_and_leave_nothing(slurm, tmp_path, quick):
    script = ["bash", "cluster/slurm.sh", *flags(tmp_path, "trained", 4), *quick]
    done = subprocess.run(script, cwd=ROOT, env=slurm, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = result(tmp_path, "trained")
    assert (found["status"], found["world_size"], found["steps"]) == ("done", 2, 4)
    assert list(Path(slurm["HOME"], ".ray").iterdir()) == [], "the token was left"
    assert remains(slurm) == []


def test_an_error_of_the_users_is_the_scripts_exit_code(slurm, tmp_path):
    """Also where the first ports that the job would use are another's."""
    taken = socket.create_server(("127.0.0.1", 20000 + int(slurm["SLURM_JOB_ID"]) % 600 * 20))
    script = ["bash", "cluster/slurm.sh", "evaluate", "--predictions", str(tmp_path / "none.json")]
    with taken:
        done = subprocess.run(script, cwd=ROOT, env=slurm, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "none.json cannot be read" in done.stderr


def test_before_the_time_is_up_a_checkpoint_is_written(slurm, tmp_path, quick):
    """Slurm sends SIGTERM to the batch script alone."""
    script = ["bash", "cluster/slurm.sh", *flags(tmp_path, "stopped", 50_000), *quick]
    with running(script, env=slurm, stderr=subprocess.PIPE) as batch:
        steps = tmp_path / "stopped" / "metrics.jsonl"
        while not (steps.exists() and steps.read_text()):
            assert batch.poll() is None, batch.communicate()[1]
            time.sleep(0.1)
        batch.send_signal(signal.SIGTERM)
        _, said = batch.communicate(timeout=120)
    assert batch.returncode not in (0, 1, 2), said
    assert "--resume" in said and result(tmp_path, "stopped")["status"] == "interrupted"
    assert list((tmp_path / "stopped" / "checkpoints").glob("*/manifest.json"))
    assert remains(slurm) == []
