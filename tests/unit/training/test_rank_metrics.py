"""Speeds are those of the steps: writing a checkpoint stops the clock."""

from types import SimpleNamespace

import numpy as np
import pytest
import ray
import torch

from qa_lib.config import TrainSettings
from qa_lib.models.kernels import Kernels
from qa_lib.training import rank_metrics
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.rank_metrics import RankMetrics


@pytest.mark.parametrize("num_steps", [0, 1])
def test_a_group_that_took_no_step_tells_no_speed(tmp_path, monkeypatch, num_steps):
    """So that a run which is resumed after its last step keeps those that it had."""
    monkeypatch.setattr(ray, "get", lambda value: value)
    told = []
    monitor = SimpleNamespace(
        record=SimpleNamespace(remote=lambda rows: (False, False)),
        conclude=SimpleNamespace(remote=told.append),
    )
    plan = BatchPlan(np.full(4, 7, np.int32), 4, 1, 0)
    task = SimpleNamespace(run_path=str(tmp_path), plan=plan, monitor=monitor)
    engine = SimpleNamespace(
        **{"settings": TrainSettings(), "num_steps": 1, "step_number": 1, "num_skipped": 0},
        **{"model": torch.nn.Linear(2, 2), "zero_stage": 0, "device": "cpu"},
        num_state_bytes=dict,
    )
    metrics = RankMetrics(task, engine, rank=0)
    metrics.start()
    for step in range(num_steps):
        batch = SimpleNamespace(step=step, num_windows=4)
        metrics.note(batch, SimpleNamespace(loss=1.0, skipped=False), {})
    metrics.conclude(Kernels("fp32", "mkl", "sdpa"), "done", 1, "", {}, {})
    measured = {"windows_per_s", "tokens_per_s", "train_loop_seconds", "peak_memory_bytes"}
    assert (measured | {"state_bytes_per_rank"} <= told[0].keys()) == bool(num_steps)
    assert measured.isdisjoint(told[0]) == (not num_steps)
    assert told[0]["steps"] == 1


def test_windows_per_second_leave_checkpoints_out(tmp_path, monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
    monkeypatch.setattr(rank_metrics, "time", clock)
    monkeypatch.setattr(rank_metrics, "_FLUSH_EVERY_S", 1e9)  # flushing needs the monitor
    plan = BatchPlan(np.full(40, 7, np.int32), 4, 1, 0)
    task = SimpleNamespace(run_path=str(tmp_path), plan=plan)
    engine = SimpleNamespace(settings=TrainSettings(), num_steps=10)
    metrics = RankMetrics(task, engine, rank=0)
    result = SimpleNamespace(loss=1.0, skipped=False)
    now[0] = 100.0  # the model loads
    metrics.start()
    for step in range(2):
        now[0] += 2.0
        metrics.note(SimpleNamespace(step=step, num_windows=4), result, {})
        with metrics.pause():
            now[0] += 50.0
    assert [row["windows_per_s"] for row in metrics._rows] == [2.0, 2.0]
