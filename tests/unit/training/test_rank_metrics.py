"""Speeds are those of the steps: writing a checkpoint stops the clock."""

from types import SimpleNamespace

import numpy as np

from qa_lib.config import TrainSettings
from qa_lib.training import rank_metrics
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.rank_metrics import RankMetrics


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
