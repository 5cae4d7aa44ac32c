"""Which threshold of "no answer" a model keeps."""

from __future__ import annotations

import pytest

from qa_lib import config, models
from qa_lib.data import Questions, embedded
from qa_lib.evaluation.evaluate import _keep_threshold


@pytest.mark.parametrize(
    ("flags", "num_questions", "kept"),
    [
        ([], 50, -2.0),
        ([], 100, 1.5),
        ([], 200, 1.5),
        (["--evaluate.no-answer-threshold", "3"], 50, 3.0),
        (["--evaluate.no-answer-threshold", "0"], 200, 0.0),
    ],
)
def test_the_given_threshold_is_kept_else_the_one_of_most_questions(
    tmp_path, capsys, flags, num_questions, kept
):
    (tmp_path / "config.json").write_text("{}")
    assert models.keep_no_answer_threshold(str(tmp_path), -2.0, num_questions=100)
    questions = Questions(embedded.corpus("eval").slice(0, num_questions), "eval", "here")
    scored = {"best_threshold": 1.5, "best_f1": 60.0, "f1": 50.0}
    rules = config.parse("evaluate", flags).evaluate
    _keep_threshold(str(tmp_path), questions, scored, rules)
    assert models.no_answer_threshold(str(tmp_path)) == kept
    assert ("found on 100 questions" in capsys.readouterr().err) == (kept == -2.0)
