"""A node of a real cluster is killed with all its processes, as a preempted machine is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cluster.loopback import LoopbackCluster
from tests.support.processes import running

NUM_STEPS = 200
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LoopbackCluster]:
    """Two nodes; a test kills the second and adds another. Drivers join the first."""
    with LoopbackCluster(num_nodes=2, cpus_per_node=2) as nodes:
        yield nodes


def started(
    cluster: LoopbackCluster, *words: str, **variables: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    return running(
        [sys.executable, "-m", *words],
        env=os.environ | cluster.environment | {"RAY_ADDRESS": cluster.gcs} | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def flags(tmp_path: Path, quick: list[str]) -> list[str]:
    """The flags of a run whose first checkpoint is long before its end."""
    words = f"""--storage {tmp_path} --run-name trained --train.num-workers 2 --data.eval-limit 16
        --train.cpus-per-worker 0.5 --train.max-steps {NUM_STEPS} --train.epochs 9
        --data.train-limit 400 --train.checkpoint-every-steps 20 --skip-doctor""".split()
    return [*words, *quick]


def wait_for_a_checkpoint(driver: subprocess.Popen[str], storage: Path) -> None:
    checkpoints = storage / "trained" / "checkpoints"
    while not list(checkpoints.glob("*/manifest.json")):
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.2)


def result_of(storage: Path) -> tuple[str, int, int]:
    found = json.loads((storage / "trained" / "result.json").read_text())
    return found["status"], found["steps"], found["world_size"]


@pytest.mark.parametrize("what", ["pool", "monitor", "scores", "trials"])
def test_pool_and_monitor_outlive_another_node(cluster: LoopbackCluster, what: str):
    with started(cluster, "tests.support.node_loss", what, NUM_SIZES="120") as driver:
        assert driver.stdout is not None
        said = ""
        while "kill" not in said.split():
            said += driver.stdout.readline() or pytest.fail(said)
        cluster.kill_node()
        rest, _ = driver.communicate("\n", timeout=200)
    cluster.add_node()
    assert driver.returncode == 0 and rest.endswith("done\n"), said + rest


def test_training_outlives_the_node_of_a_rank(
    cluster: LoopbackCluster, flags: list[str], tmp_path: Path
):
    """Two ranks on two nodes; what is left has room for both."""
    with started(cluster, "jobs.train", *flags) as driver:
        wait_for_a_checkpoint(driver, tmp_path)
        cluster.kill_node()
        said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert result_of(tmp_path) == ("done", NUM_STEPS, 2)


def test_a_run_goes_on_after_the_head_has_gone(flags: list[str], tmp_path: Path):
    """The driver ends with its head; the same command resumes on a new one."""
    # A minute by default, in which Ray hopes for the head to come back.
    soon = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    with LoopbackCluster(num_nodes=1, cpus_per_node=3) as first:
        with started(first, "jobs.train", *flags, **soon) as driver:
            wait_for_a_checkpoint(driver, tmp_path)
            first.kill_node()
            said, _ = driver.communicate(timeout=90)
        assert driver.returncode != 0, said
    with (
        LoopbackCluster(num_nodes=1, cpus_per_node=3) as second,
        started(second, "jobs.train", *flags, "--resume") as driver,
    ):
        said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert result_of(tmp_path) == ("done", NUM_STEPS, 2)
