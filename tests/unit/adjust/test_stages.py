"""Stages of a recovery: their sizes, and a run that ends in the middle of one."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from transformers import BertModel

from jobs import adjust
from qa_lib import config, models
from qa_lib.adjust import pipeline, prune, recovery, resolve, stages
from qa_lib.config import AdjustSettings
from qa_lib.data import load_questions
from qa_lib.errors import CheckpointError, ConfigError
from qa_lib.runs.result import Trained
from qa_lib.runs.run_folder import RunFolder
from tests.support import tiny
from tests.support.adjust_models import CONFIGS


def test_sizes_that_a_family_cannot_have_are_no_stage():
    """ELECTRA's residual stream is as wide as its embeddings where nothing projects them."""
    electra = CONFIGS["electra"]()
    assert (electra.hidden_size, electra.embedding_size) == (32, 16)
    wish = AdjustSettings(hidden_size=8, recover=True, stages=2)
    assert resolve(electra, wish).hidden_size == 8
    assert list(stages.stages_before_the_last(electra, wish)) == []
    (between,) = stages.stages_before_the_last(CONFIGS["bert"](), wish)
    assert between.hidden_size == 16


def test_fewer_stages_than_asked_for_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bert = CONFIGS["bert"]()
    assert stages.left_out(bert, AdjustSettings(hidden_size=8, recover=True, stages=2)) == []
    (note,) = stages.left_out(bert, AdjustSettings(num_layers=2, recover=True, stages=3))
    assert "--adjust.stages 3 becomes 1" in note
    settings = settings_of(tmp_path, "--adjust.num-layers", "3", "--adjust.vocabulary", "corpus")
    assert "--adjust.stages 2 becomes 1" in adjust.describe(settings)
    with RunFolder.open(settings, "adjust") as run:
        stages.recover_stages(settings, run, load_questions(settings.data, "train"))
        assert run.result["stages"] == []
    assert "note: --adjust.stages 2 becomes 1" in capsys.readouterr().err


def settings_of(folder: Path, *flags: str) -> Any:
    parent = folder / "parent"
    if not parent.exists():
        tiny.write_model(parent, num_layers=3)
    given = f"""--storage {folder} --run-name mine --model.name {parent} --data.train-limit 8
        --data.max-length 112 --data.stride 32 --adjust.num-layers 1 --adjust.calibration-windows 4
        --adjust.recover --adjust.stages 2"""
    return config.parse("adjust", [*given.split(), *flags])


def test_a_run_that_ended_inside_of_a_stage_goes_on_with_what_the_stage_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = settings_of(tmp_path)
    questions = load_questions(settings.data, "train")

    def killed(settings: Any, run: RunFolder, *_: Any, **__: Any) -> Any:
        run.write_text("checkpoints/step-1/part", "")
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "recover", killed)
    with pytest.raises(KeyboardInterrupt), RunFolder.open(settings, "adjust") as run:
        stages.recover_stages(settings, run, questions)

    trained = Trained(num_window_passes=8, train_seconds=1.0)
    monkeypatch.setattr(stages, "recover", lambda *_, **__: trained)
    again = settings_of(tmp_path, "--resume")
    with RunFolder.open(again, "adjust") as run:
        run.begin()
        stages.recover_stages(again, run, questions)
        (facts,) = run.result["stages"]
    assert len(facts["kept_layers"]) == 2 and facts["num_window_passes"] == 8
    stored = json.loads((tmp_path / "mine/stages/1/result.json").read_text())
    assert stored["status"] == "done" and stored["kept_layers"] == facts["kept_layers"]


@pytest.mark.parametrize("has_head", [True, False])
def test_a_parent_that_cannot_answer_leaves_every_stage_to_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_head: bool
):
    settings, parent = settings_of(tmp_path), tmp_path / "parent"
    if not has_head:
        BertModel.from_pretrained(parent).save_pretrained(parent)
    taught = []

    def recover(own: Any, *_: Any, **__: Any) -> Any:
        taught.append(recovery._teacher(own))
        return Trained(num_window_passes=8, train_seconds=1.0)

    monkeypatch.setattr(stages, "recover", recover)
    with RunFolder.open(settings, "adjust") as run:
        questions = load_questions(settings.data, "train")
        last, _ = stages.recover_stages(settings, run, questions)
    assert [*taught, recovery._teacher(last)] == 2 * [str(parent) if has_head else None]


def test_a_run_is_not_resumed_to_become_another_model(tmp_path: Path):
    settings = settings_of(tmp_path)
    with pytest.raises(KeyboardInterrupt), RunFolder.open(settings, "adjust"):
        raise KeyboardInterrupt
    written = (tmp_path / "mine/config.yaml").read_bytes()
    for flags, words in (
        (["--adjust.num-layers", "2"], "--adjust.num-layers 1"),
        (["--adjust.calibration-windows", "8"], "--adjust.calibration-windows 4"),
    ):
        other = settings_of(tmp_path, "--resume", *flags)
        with pytest.raises(ConfigError, match=words), RunFolder.open(other, "adjust") as run:
            pipeline.adjust_and_recover(other, run)
    assert (tmp_path / "mine/config.yaml").read_bytes() == written


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--train.epochs 5", "--train.epochs 2"),
        ("--train.learning-rate 1e-5", "--train.learning-rate"),
        ("--seed 7", "--seed 0"),
        ("--data.train-limit 9", "--data.train-limit 8"),
        ("--data.max-length 96", "--data.max-length 112"),
        ("--model.name embedded", "--model.name"),
        ("--train.num-workers 2 --train.device cpu --train.patience 3 --data.bad-row-limit 1", ""),
        ("--data.source elsewhere", ""),  # the questions themselves are compared
    ],
)
def test_a_stage_that_is_done_goes_on_with_the_settings_it_had(
    tmp_path: Path, flags: str, named: str
):
    more = ["--train.evaluate-every", "9", "--data.holdout-articles", "0.1"]
    with (
        pytest.raises(KeyboardInterrupt),
        RunFolder.open(settings_of(tmp_path, *more), "adjust") as run,
    ):
        run.inside("stages/1").write_result(Trained(num_window_passes=8))
        raise KeyboardInterrupt
    again = settings_of(tmp_path, *more, "--resume", *flags.split())
    with nullcontext() if not named else pytest.raises(ConfigError, match=named):
        pipeline._check_resumed(again, run_that_goes_on(tmp_path))


def test_before_it_is_trained_a_planned_run_may_change_how_but_not_what(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), RunFolder.open(settings_of(tmp_path), "adjust") as run:
        run.inside("stages/1").write_text("plan.json", "")
        raise KeyboardInterrupt
    run = run_that_goes_on(tmp_path)
    pipeline._check_resumed(settings_of(tmp_path, "--resume", "--train.epochs", "5"), run)
    for flags in ("--data.source elsewhere", "--seed 7"):
        other = settings_of(tmp_path, "--resume", *flags.split())
        with pytest.raises(ConfigError, match="begun with other settings"):
            pipeline._check_resumed(other, run)


def test_the_parent_of_a_plan_may_have_moved(tmp_path: Path):
    whole = ["--adjust.stages", "1"]
    with (
        pytest.raises(KeyboardInterrupt),
        RunFolder.open(settings_of(tmp_path, *whole), "adjust") as run,
    ):
        run.write_text("plan.json", "")
        raise KeyboardInterrupt
    moved = settings_of(tmp_path, *whole, "--resume", "--model.name", "elsewhere")
    pipeline._check_resumed(moved, run_that_goes_on(tmp_path))


def run_that_goes_on(folder: Path) -> RunFolder:
    run = RunFolder(str(folder / "mine"), "adjust")
    run.resumed = True
    return run


def test_a_stage_of_other_questions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = settings_of(tmp_path)
    questions = load_questions(settings.data, "train")
    trained = Trained(num_window_passes=8, train_seconds=1.0, train_fingerprint="of others")
    monkeypatch.setattr(stages, "recover", lambda *_, **__: trained)
    with RunFolder.open(settings, "adjust") as run:
        stages.recover_stages(settings, run, questions)
        with pytest.raises(CheckpointError, match="trained on other questions"):
            stages.recover_stages(settings, run, questions)


def test_which_layers_stay_is_said_where_blocks_are_dropped(tmp_path: Path, capsys: Any):
    parent = tiny.write_model(tmp_path / "parent", num_layers=3)
    flags = f"""--storage {tmp_path} --model.name {parent} --adjust.num-layers 2 --adjust.ragged
        --adjust.drop-attention 1 --adjust.calibration-windows 4 --data.max-length 112
        --data.stride 32 --data.train-limit 8"""
    settings = config.parse("adjust", flags.split())
    plan = prune.plan_of(settings, models.load(parent))
    assert plan.keep.layers == (0, 1)
    assert "the first layers stay" in capsys.readouterr().err
