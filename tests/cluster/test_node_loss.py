"""A node of a real cluster is killed with all its processes, as a preempted machine is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.loopback import LoopbackCluster

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LoopbackCluster]:
    """Two nodes; a test kills the second and adds another. Drivers join the first."""
    with LoopbackCluster(num_nodes=2, cpus_per_node=2) as nodes:
        yield nodes


def start(cluster: LoopbackCluster, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | cluster.environment | {"RAY_ADDRESS": cluster.gcs},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("what", ["pool", "monitor"])
def test_pool_and_monitor_outlive_another_node(cluster: LoopbackCluster, what: str):
    driver = start(cluster, "tests.support.node_loss", what)
    assert driver.stdout is not None
    said = ""
    while "kill" not in said.split():
        said += driver.stdout.readline() or pytest.fail(said)
    cluster.kill_node()
    rest, _ = driver.communicate("\n", timeout=200)
    cluster.add_node()
    assert driver.returncode == 0 and rest.endswith("done\n"), said + rest


def test_training_outlives_the_node_of_a_rank(cluster: LoopbackCluster, tmp_path: Path):
    """Two ranks on two nodes; what is left has room for both."""
    num_steps = 12
    words = f"""--storage {tmp_path} --run-name trained --train.num-workers 2
        --train.cpus-per-worker 0.9 --train.max-steps {num_steps} --data.train-limit 400
        --train.checkpoint-every-steps 2 --data.eval-limit 16""".split()
    driver = start(cluster, "jobs.train", *words)
    checkpoints = tmp_path / "trained" / "checkpoints"
    while not list(checkpoints.glob("*/manifest.json")):
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.2)
    cluster.kill_node()
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    found = json.loads((tmp_path / "trained" / "result.json").read_text())
    assert (found["status"], found["steps"], found["world_size"]) == ("done", num_steps, 2)
