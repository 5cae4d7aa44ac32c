"""gcp-t4.yaml's worker nodes come when a job asks for them, are replaced, and go when idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.autoscaling import AutoscalingCluster
from tests.support.processes import running

NUM_STEPS = 200
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def wait(condition: Callable[[], object], driver: subprocess.Popen | None, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert driver is None or driver.poll() is None, "the job has ended"
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.2)


def has_a_rank(raylet: psutil.Process) -> bool:
    return any("RayTrainWorker" in " ".join(child.cmdline()) for child in raylet.children())


def test_workers_come_are_replaced_and_go(tmp_path: Path, quick: list[str]):
    # A rank takes most of a node's two CPUs, so that two nodes must come.
    command = f"""{sys.executable} -m jobs.train --storage {tmp_path} --run-name trained
        --train.num-workers 2 --train.cpus-per-worker 1.5 --train.device cpu
        --cluster.gpu T4 --cluster.num-nodes 4 --cluster.cpus-per-node 2
        --train.max-steps {NUM_STEPS} --train.epochs 9 --train.checkpoint-every-steps 20
        --data.train-limit 400 --data.eval-limit 16 {" ".join(quick)}""".split()
    with AutoscalingCluster(idle_s=10) as cluster:
        assert cluster.workers() == {}
        environment = os.environ | cluster.environment | {"RAY_ADDRESS": cluster.gcs}
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with running(command, env=environment, **out) as driver:
            checkpoints = tmp_path / "trained" / "checkpoints"
            wait(lambda: list(checkpoints.glob("*/manifest.json")), driver, 240)
            nodes = cluster.workers()
            ranks = [name for name in nodes if has_a_rank(nodes[name])]
            assert len(ranks) == 2
            nodes[ranks[0]].kill()  # as a spot machine goes: without a word
            said, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, said
        result = json.loads((tmp_path / "trained" / "result.json").read_text())
        assert (result["status"], result["steps"], result["world_size"]) == ("done", NUM_STEPS, 2)
        assert ranks[0] not in cluster.workers()
        try:
            wait(lambda: cluster.workers() == {} and cluster.num_alive() == 1, None, 90)
        except AssertionError:
            pytest.fail(f"{cluster.workers()} stay:\n{cluster.said()}")
