"""Which threshold of "no answer" a model keeps, and an export answers by."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from qa_lib import config, evaluation, models
from qa_lib.data import Questions, embedded
from qa_lib.evaluation.evaluate import _keep_threshold
from qa_lib.serving.onnx import exporting


@pytest.mark.parametrize("is_repeated", [False, True])
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
    tmp_path, capsys, flags, num_questions, kept, is_repeated
):
    (tmp_path / "config.json").write_text("{}")
    assert models.keep_no_answer_threshold(str(tmp_path), -2.0, num_questions=100)
    questions = Questions(embedded.corpus("eval").slice(0, num_questions), "eval", "here")
    scored = {"best_threshold": 1.5, "best_f1": 60.0, "f1": 50.0}
    settings = config.parse("evaluate", flags)
    if is_repeated:  # a default that config.yaml holds is no wish
        (tmp_path / "config.yaml").write_text(settings.to_yaml())
        settings = config.parse("evaluate", ["--recipe", str(tmp_path / "config.yaml")])
    rules = settings.evaluate
    _keep_threshold(str(tmp_path), questions, scored, rules)
    assert models.no_answer_threshold(str(tmp_path)) == kept
    assert ("found on 100 questions" in capsys.readouterr().err) == (kept == -2.0)


@pytest.mark.parametrize(
    ("given", "own", "is_answered"),
    [(None, None, False), (None, 3.0, True), (0.0, 3.0, False), (3.0, 0.0, True)],
)
def test_an_export_answers_by_the_given_threshold_else_by_the_models(
    monkeypatch, given, own, is_answered
):
    """The best span scores 8, and no answer 10."""
    span = {"char_start": [0], "char_end": [3], "start_logit": [4.0], "end_logit": [4.0]}
    spans = pa.Table.from_pylist(
        [{"row": 0, "part": 0, "null_start": 5.0, "null_end": 5.0, **span}],
        pa.schema(
            {"row": pa.int64(), "part": pa.int32()}
            | dict.fromkeys(["null_start", "null_end"], pa.float32())
            | dict.fromkeys(["char_start", "char_end"], pa.list_(pa.int32()))
            | dict.fromkeys(["start_logit", "end_logit"], pa.list_(pa.float32()))
        ),
    )
    monkeypatch.setattr(evaluation, "find_spans", lambda *_: [spans])
    row = {"id": "a", "context": "Ann built it.", "answers": {"text": [], "answer_start": []}}
    questions = Questions(pa.Table.from_pylist([row]), "eval", "here")
    rules = config.EvaluateSettings(no_answer_threshold=given)
    found = exporting._predict(
        SimpleNamespace(evaluate=rules),
        SimpleNamespace(no_answer_threshold=own),
        questions,
        spans,
        "onnx",
    )
    assert found == {"a": "Ann" if is_answered else ""}
