"""What a search must share with its earlier starts, and what it refuses to begin with."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from qa_lib.config import parse
from qa_lib.errors import ConfigError, ModelError
from qa_lib.runs.result import Trained
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import explore, parent
from qa_lib.search.target import target_of


@pytest.mark.parametrize(
    ("flags", "is_same"),
    [
        ("--train.optimizer sgd", False),
        ("--train.temperature 8", False),
        ("--evaluate.max-answer-length 9", False),
        ("--search.target cpu --train.device cpu", True),  # as without
        ("--train.epochs 9 --train.learning-rate 0.1 --train.hidden-weight 1", True),
        ("--search.num-trials 99 --evaluate.batch-size 8 --train.checkpoint-every-steps 9", True),
    ],
)
def test_what_trials_scores_depend_on_stays(
    flags: str, is_same: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    def identity(*more: str) -> dict[str, Any]:
        wish = parse("tune", list(more))
        return explore._identity(wish, target_of(wish))

    assert (identity() == identity(*flags.split())) == is_same


def test_a_search_that_begins_on_a_gpu_does_not_go_on_without(monkeypatch: pytest.MonkeyPatch):
    wish, found = parse("tune", ["--train.num-workers", "1"]), []
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # by other tests it may be
    for num_gpus in (0, 1):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=num_gpus: count)
        found.append(explore._identity(wish, target_of(wish)))
    changed = {flag for flag, value in found[0].items() if found[1][flag] != value}
    assert changed == {"--search.target", "--train.device"}


def test_a_parent_that_was_never_trained_to_answer_is_refused_at_once():
    wish = parse("tune", ["--search.parent", "embedded", "--data.holdout-articles", "0.1"])
    with pytest.raises(ModelError, match="has no question-answering head") as caught:
        explore.prepare(wish)
    assert "--search.parent" in caught.value.remedy


@pytest.mark.parametrize(
    ("flags", "source"),
    [
        ("--train.hidden-weight 1 --train.relation-weight 1", None),
        ("--train.teacher-only-source embedded --train.teacher-only-limit 8", None),
        ("--train.teacher a --train.hidden-weight 1 --train.teacher-only-source b", "b"),
    ],
)
def test_a_parent_is_trained_without_what_it_alone_teaches_later(
    flags: str, source: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trained = []
    monkeypatch.setattr(
        parent.training, "fine_tune", lambda wish, *_, **__: trained.append(wish.train) or Trained()
    )
    limits = "--data.train-limit 8 --data.holdout-articles 0.1"
    wish = parse("tune", f"--storage {tmp_path} {limits} {flags}".split())
    with RunFolder.open(wish, "tune") as run:
        parent.obtain(wish, run)
    (train,) = trained
    assert not train.teaches_inside and train.teacher == wish.train.teacher
    assert train.teacher_only_source == source and train.teacher_only_limit is None


@pytest.mark.parametrize(
    ("flags", "least"),
    [("--search.num-rungs 3 --search.reduction-factor 4", 256), ("--search.no-halving", 16)],
)
def test_a_trial_fills_a_batch_at_its_first_rung(flags: str, least: int):
    for num_windows in (least, least - 1):
        given = f"--train.global-batch 16 --search.trial-windows {num_windows} {flags}"
        with (
            nullcontext() if num_windows == least else pytest.raises(ConfigError, match=f"{least}")
        ):
            parent.check_parent(parse("tune", given.split()), ())
