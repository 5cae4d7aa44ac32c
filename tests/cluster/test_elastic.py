"""Groups of workers that shrink and grow on a real cluster, as spot machines come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cluster.loopback import LoopbackCluster
from qa_lib.training.notice import METADATA_URL
from tests.support.metadata import Metadata
from tests.support.processes import running, training_workers

NUM_STEPS = 30_000  # more than any machine takes: the test ends the run once it has seen enough
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Driver:
    """A training job on the cluster, and what it has said and written so far."""

    def __init__(self, process: subprocess.Popen[str], storage: Path) -> None:
        self.process, self.run, self.said = process, storage / "elastic", storage / "said"

    @classmethod
    @contextmanager
    def started(cls, cluster: LoopbackCluster, storage: Path, *flags: str) -> Iterator[Driver]:
        words = f"""--storage {storage} --run-name elastic --data.train-limit 400
            --train.epochs 999 --train.max-steps {NUM_STEPS} --data.eval-limit 16
            --train.cpus-per-worker 1.5 --train.max-failures 3 --skip-doctor""".split()
        command = [sys.executable, "-m", "jobs.train", *words, *flags]
        environment = os.environ | cluster.environment | {"RAY_ADDRESS": cluster.gcs}
        with (
            (storage / "said").open("wb") as said,
            running(command, env=environment, stdout=said, stderr=subprocess.STDOUT) as process,
        ):
            yield cls(process, storage)

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not condition():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, f"{what}:\n{self.said.read_text()}"
            time.sleep(0.2)

    def has_said(self, text: str, times: int = 1) -> Callable[[], bool]:
        return lambda: self.said.read_text().count(text) >= times

    def rows(self) -> list[dict]:
        path = self.run / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def num_rows(self) -> int:
        path = self.run / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.is_file() else 0

    def steps_on(self, num: int = 5) -> None:
        """Wait until the run has taken more steps."""
        before = self.num_rows()
        self.wait("more steps", lambda: self.num_rows() >= before + num)


def training_node(cluster: LoopbackCluster) -> int:
    """Return the place of a node with a training worker, not of the head, where the driver is."""
    for worker in training_workers():
        with suppress(psutil.NoSuchProcess):
            started_by = {parent.pid for parent in worker.parents()} & set(cluster.pids[1:])
            if started_by:
                return cluster.pids.index(*started_by)
    return 0  # a group is forming


def test_a_group_follows_its_nodes_and_takes_no_step_twice_where_it_was_told(
    tmp_path: Path, quick: list[str]
):
    metadata = Metadata()
    with (
        metadata.serving(),
        LoopbackCluster(num_nodes=3, cpus_per_node=2) as cluster,
        Driver.started(cluster, tmp_path, "--train.num-workers", "1:2", *quick) as driver,
    ):
        driver.steps_on()
        assert len(training_workers()) == 2

        os.kill(training_workers()[-1].pid, signal.SIGTERM)
        driver.wait("a group after SIGTERM", (driver.run / "checkpoints").is_dir)
        driver.steps_on(10)
        assert len(training_workers()) == 2

        drained = training_node(cluster)
        cluster.drain_node(drained, within_s=40)
        driver.wait("a group elsewhere", lambda: training_node(cluster) != drained)
        driver.steps_on(10)
        assert len(training_workers()) == 2
        cluster.kill_node(drained)

        cluster.kill_node(training_node(cluster))
        driver.steps_on(10)
        assert len(training_workers()) == 1

        cluster.add_node(**{METADATA_URL: metadata.url})
        driver.wait("growth", driver.has_said("there is room for 2 workers"))
        driver.wait("two workers", lambda: len(training_workers()) == 2)
        driver.steps_on(10)

        metadata.is_preempted.set()
        driver.wait("a smaller group", lambda: len(training_workers()) == 1)
        driver.steps_on()
        driver.process.send_signal(signal.SIGINT)
        driver.process.wait(120)
    assert driver.process.returncode == 130, driver.said.read_text()
    result = json.loads((driver.run / "result.json").read_text())
    assert result["status"] == "interrupted"
    rows = driver.rows()
    steps = {row["step"] for row in rows}
    assert steps == set(range(1, len(steps) + 1))
    # Only the node that was killed without a notice cost steps: once, and in one piece.
    redone = [number for number, row in enumerate(rows) if row["redone"]]
    assert redone == list(range(redone[0], redone[-1] + 1))
