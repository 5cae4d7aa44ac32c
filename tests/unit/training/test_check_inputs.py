"""What a job needs last is read before it trains: evaluation questions and teacher."""

from __future__ import annotations

import json

import pytest

from qa_lib import config, training
from qa_lib.errors import DataError, ModelError


def test_evaluation_questions_that_cannot_be_read_are_refused(tmp_path):
    settings = config.parse("train", ["--data.eval-source", f"{tmp_path}/none.json"], "")
    with pytest.raises(DataError, match=r"none\.json"):
        training.check_inputs(settings)


def test_faulty_evaluation_questions_are_refused_with_row_id_and_value(tmp_path):
    row = {"id": "q7", "context": "Ann.", "question": "Who?", "answers": [], "is_impossible": False}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row))
    settings = config.parse("train", ["--data.eval-source", f"{tmp_path}/dev.jsonl"], "")
    with pytest.raises(DataError, match=r"dev\.jsonl row 0: there is no answer.*id 'q7'"):
        training.check_inputs(settings)


def test_a_teacher_that_is_not_there_is_refused(tmp_path):
    settings = config.parse("train", ["--train.teacher", f"{tmp_path}/none"], "")
    with pytest.raises(ModelError, match="none"):
        training.check_inputs(settings)


def test_counts_of_the_evaluation_questions_are_told():
    assert training.check_inputs(config.parse("train", [], ""))["num_eval_questions"] == 540
