"""What a rank does after a step where checkpoints cannot be stored."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import ray.train

from qa_lib.config import Settings
from qa_lib.models.kernels import Kernels
from qa_lib.training import rank_checkpoint, worker
from qa_lib.training.rank_checkpoint import RankCheckpoint

LAST = 9
METRICS = SimpleNamespace(
    note=lambda *_: None, flush=lambda: None, warn=lambda _: None, pause=nullcontext
)


class Checkpoint:
    """Fails to store, a number of times so far."""

    problem, begun_step = "No space left on device", None

    def __init__(self, num_failures: int, *, is_due: bool = False) -> None:
        self.num_failures, self._is_due, self.num_begun = num_failures, is_due, 0

    def note(self, batch: SimpleNamespace) -> None:
        """Record nothing."""

    def is_due(self, num_steps: int) -> bool:
        """Say what the test does."""
        return self._is_due

    def begin(self, history: list) -> None:
        """Count, and fail."""
        self.num_begun += 1


def after_step(checkpoint: Checkpoint, step: int, *, regroup: bool = False) -> str | None:
    train = SimpleNamespace(max_skipped_steps=3)
    task = SimpleNamespace(last_step=LAST, settings=SimpleNamespace(train=train))
    engine = SimpleNamespace(
        is_finite=lambda: True, wants_regroup=False, num_skipped_in_a_row=0, is_writing=False
    )
    held_out = SimpleNamespace(is_due=lambda step: False, is_over=False, history=[])
    result = SimpleNamespace(loss=1.0, skipped=False, stop=False, regroup=regroup, writing=False)
    batch = SimpleNamespace(step=step - 1)
    return worker._after_step(task, engine, checkpoint, METRICS, held_out, batch, result)


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.train, "report", lambda _: None)


@pytest.mark.parametrize(
    ("num_failures", "step", "ending"),
    [
        (2, 5, None),
        (3, 5, "unsaved"),
        (4, 5, "unsaved"),  # two can fail in one step
        (3, LAST, None),  # the model may yet be written
    ],
)
def test_a_run_stops_after_three_failures_but_for_its_last_step(num_failures, step, ending):
    assert after_step(Checkpoint(num_failures, is_due=True), step) == ending


@pytest.mark.parametrize(
    ("num_failures", "is_due", "is_tried"), [(1, False, True), (2, False, False), (2, True, True)]
)
def test_a_wish_to_regroup_uses_up_all_but_the_last_failure(num_failures, is_due, is_tried):
    checkpoint = Checkpoint(num_failures, is_due=is_due)
    assert after_step(checkpoint, 5, regroup=True) is None
    assert checkpoint.num_begun == is_tried


def test_a_full_temporary_folder_is_a_failed_checkpoint_and_no_lost_rank(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    monkeypatch.setattr(rank_checkpoint, "gather", lambda value: [value])
    copied = []
    engine = SimpleNamespace(step_number=4, is_writing=False, copy_state=copied.append)
    task = SimpleNamespace(
        **{"run_path": str(tmp_path), "settings": Settings(), "sources": {}, "device": "cpu"},
        **{"plan": SimpleNamespace(fingerprint="x"), "micro_batch": 2},
    )
    checkpoint = RankCheckpoint(task, engine, 0, Kernels("fp32", "mkl", "sdpa"))
    checkpoint.save([])
    assert "full" in checkpoint.problem and checkpoint.num_failures == 1
    assert copied and not engine.is_writing  # other ranks wait for its share
    monkeypatch.undo()
