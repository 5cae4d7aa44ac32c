"""What evaluations on the way decide: which is the best, and when training ends."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from qa_lib import config
from qa_lib.errors import CheckpointError, ConfigError
from qa_lib.runs.checkpoints import Checkpoint
from qa_lib.runs.folder import Folder
from qa_lib.training import sources
from qa_lib.training.best import EVALUATIONS, check_best
from qa_lib.training.held_out import HeldOut


def checkpoint_of(*is_best: bool) -> Checkpoint:
    entries = [
        {"step": 10 * (number + 1), "f1": 50.0, "em": 40.0, "best": best}
        for number, best in enumerate(is_best)
    ]
    return Checkpoint(10 * len(is_best), "checkpoints/x", {EVALUATIONS: entries}, ())


def held_out(tmp_path, *is_best: bool, patience: int | None = 2) -> HeldOut:
    train = SimpleNamespace(evaluate_every=10, patience=patience)
    settings = SimpleNamespace(train=train)
    task = SimpleNamespace(
        settings=settings, run_path=str(tmp_path), judge=None, held_out=None, last_step=100
    )
    found = HeldOut(task, SimpleNamespace(step_number=30), None, lambda *_: None)
    found.restore(checkpoint_of(*is_best))
    return found


def test_patience_counts_from_the_best_evaluation(tmp_path):
    assert not held_out(tmp_path, True).is_over
    assert not held_out(tmp_path, True, False, True, False).is_over
    assert held_out(tmp_path, True, True, False, False).is_over
    assert not held_out(tmp_path, True, False, False, False, patience=None).is_over
    assert not held_out(tmp_path).is_over


def test_the_result_names_the_best_step_and_an_early_end(tmp_path):
    facts = held_out(tmp_path, True, True, False).facts()
    assert (facts["best_step"], facts["num_evaluations"], facts["stopped_early"]) == (20, 3, True)
    assert held_out(tmp_path).facts() == {}


def test_a_missing_best_model_is_named_before_a_resumed_run_starts(tmp_path):
    (tmp_path / "best/step-000000020").mkdir(parents=True)
    check_best(Folder(str(tmp_path)), checkpoint_of(True, True, False))
    with pytest.raises(CheckpointError, match="step-000000010, the best model so far, is missing"):
        check_best(Folder(str(tmp_path)), checkpoint_of(True, False))


def test_models_stay_that_the_last_stored_checkpoint_calls_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr("qa_lib.training.held_out.agree", lambda value: value)
    found = held_out(tmp_path, True, True)
    found._save = lambda _, folder: (Path(folder) / "model").write_text("")
    found._engine.gather_weights = lambda: {"weight": 1}
    for step in (10, 20):
        found._run.write_text(f"best/step-{step:09d}/model", "")
    names = lambda: sorted(path.name[-2:] for path in (tmp_path / "best").iterdir())  # noqa: E731
    assert found._keep(30, removes=False) == "" and names() == ["10", "20", "30"]
    assert found._keep(40, removes=True) == "" and names() == ["20", "30", "40"]

    def full(*_):
        raise SafetensorError("No space left on device")

    found._save = full
    assert "No space left" in found._keep(50, removes=True)


@pytest.mark.parametrize(
    ("skipped", "evaluated"),
    [
        ((), [10, 20, 30, 35]),
        ((10, 11, 20), [12, 21, 30, 35]),
        (range(10, 20), [20, 30, 35]),
        ((34, 35), [10, 20, 30]),
    ],
)
def test_an_evaluation_follows_the_first_good_step_once_it_is_due(tmp_path, skipped, evaluated):
    found = held_out(tmp_path)
    found._table, found._task.last_step = object(), 35
    for step in range(1, 36):
        if step not in skipped and found.is_due(step):
            found.history.append({"step": step})
    assert [entry["step"] for entry in found.history] == evaluated


def test_a_resumed_run_makes_up_for_an_evaluation_that_its_checkpoint_lacks(tmp_path):
    found = held_out(tmp_path, True, False)
    found._table = object()
    assert found.is_due(30) and found.is_due(31)
    assert not found.is_due(20) and not found.is_due(25)


def test_a_resumed_run_has_the_same_held_out_questions():
    saved = {"windows": "a", "model": "b", "held_out": "c"}
    settings = config.parse("train", [])
    for now in (saved, {"windows": "a", "model": "b"}):
        sources.refuse_others("x", {sources.SOURCES: saved}, now, settings)
    with pytest.raises(CheckpointError, match="the held-out questions"):
        sources.refuse_others("x", {sources.SOURCES: saved}, saved | {"held_out": "d"}, settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--train.evaluate-every 5", "set data.holdout_articles, such as 0.05"),
        ("--train.patience 2", "train.patience needs train.evaluate_every"),
    ],
)
def test_what_an_evaluation_needs_is_named(flags, message):
    with pytest.raises(ConfigError, match=message):
        config.parse("train", flags.split())
