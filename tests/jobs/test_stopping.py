"""Stop signals to a whole process group, as `timeout`, systemd and a terminal send them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qa_lib.runs.checkpoints import CheckpointStore
from tests.support import tiny

FLAGS = """
    --data.train-limit 200 --data.eval-limit 400 --data.max-length 96 --data.stride 32
    --train.global-batch 4 --train.micro-batch 2 --train.epochs 40 --train.precision fp32
    --train.checkpoint-every-steps 5 --skip-doctor
""".split()
WAIT_S = 120.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_model(tmp_path_factory.mktemp("model") / "tiny")


@contextmanager
def started(storage: Path, model: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Start a training in a process group of its own."""
    where = ["--storage", str(storage), "--run-name", "mine", "--model.name", model]
    with subprocess.Popen(
        [sys.executable, "-m", "jobs.train", *where, *FLAGS, *flags],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, "it did not get there"
        time.sleep(0.01)


def signalled(process: subprocess.Popen[str], *numbers: int) -> str:
    """Signal the whole group, and return what the command said."""
    for number in numbers:
        os.killpg(process.pid, number)
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, said
    assert "Traceback" not in said and said.rstrip().endswith("interrupted"), said
    return said


def status(storage: Path) -> str:
    return json.loads((storage / "mine/result.json").read_text(encoding="utf-8"))["status"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_loop_leaves_a_true_status(tmp_path, model, number):
    with started(tmp_path, model) as process:
        wait_for((tmp_path / "mine/config.yaml").is_file, process)
        signalled(process, number)
    assert status(tmp_path) == "interrupted"
    assert not (tmp_path / "mine/lock.json").exists()


@pytest.mark.slow
def test_a_signal_to_the_group_stops_the_training_with_a_checkpoint(tmp_path, model):
    metrics = tmp_path / "mine/metrics.jsonl"
    with started(tmp_path, model) as process:
        wait_for(metrics.is_file, process)
        said = signalled(process, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)  # as `timeout`
    assert status(tmp_path) == "interrupted"
    newest = CheckpointStore(str(tmp_path / "mine/checkpoints")).newest_good()
    lines = metrics.read_text(encoding="utf-8").splitlines()
    assert newest.step == json.loads(lines[-1])["step"]  # no step is lost, and none is redone
    assert f"stopped after step {newest.step} of" in said
    assert "--resume" in said


@pytest.mark.slow
def test_a_reader_that_the_signal_ends_too_costs_no_checkpoint(tmp_path, model):
    """As Ctrl-C ends the `tee` of `2>&1 | tee train.log`."""
    metrics = tmp_path / "mine/metrics.jsonl"
    with started(tmp_path, model) as process:
        wait_for(metrics.is_file, process)
        process.stderr.close()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(WAIT_S) == 130
    assert status(tmp_path) == "interrupted"
    newest = CheckpointStore(str(tmp_path / "mine/checkpoints")).newest_good()
    assert newest.step == json.loads(metrics.read_text(encoding="utf-8").splitlines()[-1])["step"]


@pytest.mark.slow
def test_a_signal_in_the_evaluation_leaves_a_true_status_and_the_model(tmp_path, model):
    with started(tmp_path, model, "--train.max-steps", "2") as process:
        wait_for((tmp_path / "mine/model/config.json").is_file, process)
        trained = tmp_path / "mine/result.json"
        wait_for(lambda: "num_train_windows" in trained.read_text(encoding="utf-8"), process)
        signalled(process, signal.SIGTERM)
    assert status(tmp_path) == "interrupted"
    assert (tmp_path / "mine/model/model.safetensors").is_file()
    assert not (tmp_path / "mine/predictions.json").exists()
