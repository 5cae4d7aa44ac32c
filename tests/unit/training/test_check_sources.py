"""What a job needs last is looked at before it trains: evaluation questions, models, teacher."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from jobs import adjust
from qa_lib import config, training
from qa_lib.adjust import pipeline
from qa_lib.data import load_questions
from qa_lib.errors import ConfigError, DataError, ModelError, TrainError
from qa_lib.runs.run_folder import RunFolder
from tests.support.tiny import write_model


def test_evaluation_questions_that_cannot_be_read_are_refused(tmp_path):
    settings = config.parse("train", ["--data.eval-source", f"{tmp_path}/none.json"], "")
    with pytest.raises(DataError, match=r"none\.json"):
        training.check_sources(settings)


def test_faulty_evaluation_questions_are_refused_with_row_id_and_value(tmp_path):
    row = {"id": "q7", "context": "Ann.", "question": "Who?", "answers": [], "is_impossible": False}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row))
    settings = config.parse("train", ["--data.eval-source", f"{tmp_path}/dev.jsonl"], "")
    with pytest.raises(DataError, match=r"dev\.jsonl row 0: there is no answer.*id 'q7'"):
        training.check_sources(settings)


def test_a_teacher_that_is_not_there_is_refused(tmp_path):
    settings = config.parse("train", ["--train.teacher", f"{tmp_path}/none"], "")
    with pytest.raises(ModelError, match="none"):
        training.check_sources(settings)


def test_counts_of_the_evaluation_questions_are_told():
    assert training.check_sources(config.parse("train", [], ""))["num_eval_questions"] == 540


def test_names_and_sources_are_checked_without_transformers(tmp_path):
    code = (
        "import sys; from qa_lib import config, training;"
        "training.check_sources(config.parse('train', [], ''));"
        "assert not {'torch', 'transformers', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_windows_longer_than_the_teachers_positions_are_refused(tmp_path):
    teacher = write_model(tmp_path / "teacher")
    settings = config.parse("train", ["--train.teacher", teacher], "")
    with pytest.raises(ConfigError, match="exceeds the 128 positions of .*teacher"):
        training.check_models(settings)


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path):
    teacher = write_model(tmp_path / "teacher")
    flags = ["--train.teacher", teacher, "--data.max-length", "128", "--data.stride", "32"]
    with pytest.raises(ModelError, match="vocabular"):
        training.check_models(config.parse("train", flags, ""))


def test_a_recovery_without_the_teacher_of_its_questions_is_refused_before_the_cut(tmp_path):
    parent = write_model(tmp_path / "parent")
    flags = ["--model.name", parent, "--adjust.num-layers", "1", "--adjust.recover"]
    flags += ["--train.teacher-only-source", "embedded", "--train.distill-weight", "0"]
    settings = config.parse("adjust", [*flags, "--data.max-length", "128", "--data.stride", "32"])
    with pytest.raises(TrainError, match="teacher-only-source needs a teacher"):
        adjust.describe(settings)
    with RunFolder.open(settings.model_copy(update={"storage": str(tmp_path)}), "adjust") as run:
        with pytest.raises(TrainError, match="teacher-only-source needs a teacher"):
            pipeline.adjust_and_recover(settings, run)
        assert not run.exists("plan.json")


def test_windows_without_room_for_context_are_refused_by_a_dry_run():
    flags = ["--data.max-length", "16", "--data.stride", "8", "--data.train-limit", "5"]
    settings = config.parse("train", flags, "")
    with pytest.raises(DataError, match="No question leaves room for context"):
        training.describe(settings, load_questions(settings.data, "train"))
