"""What a final evaluation leaves behind: figures that agree with each other and with EM and F1."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib import models
from qa_lib.config import DataSettings, EvaluateSettings, Settings
from qa_lib.data import SCHEMA, Questions, load_questions
from qa_lib.errors import DataError
from qa_lib.evaluation import analysis, metrics, summary
from qa_lib.evaluation.analysis import errors
from qa_lib.evaluation.analysis.cases import question_word
from qa_lib.evaluation.answers import Answers
from qa_lib.evaluation.evaluate import write_answers
from qa_lib.runs.run_folder import RunFolder

CONTEXT = "The company built 1,000 cars in 1990 and sold nearly all of them to the navy. " * 2


def questions_of(path: Path, golds: list[list[str]]) -> Questions:
    rows = [
        {
            "id": f"q{number}",
            "title": f"Article {number % 3}",
            "context": CONTEXT,
            "question": ["What did it build?", "How many were built?", "Name the buyer."][
                number % 3
            ],
            "answers": {"text": texts, "answer_start": [CONTEXT.index(text) for text in texts]},
        }
        for number, texts in enumerate(golds)
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return load_questions(DataSettings(source=str(path)), "eval")


def run_at(path: Path) -> RunFolder:
    path.mkdir()
    return RunFolder(str(path), "evaluate")


def analyse(
    settings: Settings,
    run: RunFolder,
    questions: Questions,
    predictions: dict[str, str],
    decoded: analysis.Decoded | None = None,
) -> dict[str, Any]:
    scored = metrics.score(questions.table, predictions)
    return analysis.analyse(settings, run, questions, predictions, scored, decoded)


def analysed(run: RunFolder) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    table = pq.read_table(Path(run.path) / analysis.SCORES)
    columns = ["id", "title", "em", "f1", "semantic", "score", "answer", "content_hash"]
    assert table.column_names == columns
    return json.loads(run.read_text(analysis.ANALYSIS)), table.to_pylist()


def test_a_file_of_answers_is_analysed_in_every_way(tmp_path):
    golds = [["cars"], ["1,000", "1,000 cars"], ["the navy"], ["cars"], ["1990"], ["the navy"]]
    questions = questions_of(tmp_path / "q.parquet", golds)
    answers = {"q0": "automobiles", "q1": "one thousand", "q2": "the navy", "q3": "", "q4": "1991"}
    run = run_at(tmp_path / "run")
    result = analyse(Settings(), run, questions, answers)
    analysis, rows = analysed(run)

    semantic = [row["semantic"] for row in rows]
    assert semantic[0] > 80 and semantic[1:] == [100, 100, 0, 0, 0]
    assert [row["em"] for row in rows] == [0, 0, 100, 0, 0, 0]
    assert [row["answer"] for row in rows] == [*answers.values(), None]
    assert {row["score"] for row in rows} == {None}
    assert result["semantic"] == pytest.approx(np.mean(semantic))
    assert analysis["calibration"] is None and analysis["no_answer"] is None
    assert "aurc" not in result and "best_f1" not in result

    missed = analysis["missed"]["right_in_other_words"]
    assert [case["id"] for case in missed] == ["q1", "q0"]
    assert result["num_right_in_other_words"] == 2 and result["num_right_in_tokens_only"] == 0
    assert missed[0]["gold"] == ["1,000", "1,000 cars"] and missed[0]["answer"] == "one thousand"
    assert missed[0]["char_start"] is None  # it does not stand in the context
    example = next(case for case in analysis["examples"] if case["id"] == "q2")
    found = example["context"][example["char_start"] : example["char_end"]]
    assert found == "the navy" and len(analysis["examples"]) == 6

    means = metrics.score(questions.table, answers).summary()
    for kind in ("question word", "answer length", "context length", "article"):
        groups = analysis["breakdowns"][kind]
        counts = [group["num_questions"] for group in groups]
        assert sum(counts) == 6
        for name in ("em", "f1", "semantic"):
            mean = np.average([group[name] for group in groups], weights=counts)
            assert mean == pytest.approx((means | result)[name])
    worst = [group["f1"] for group in analysis["breakdowns"]["article"]]
    assert worst == sorted(worst) and len(worst) == 3
    for name in ("em", "f1", "semantic"):
        low, high = result["intervals"][name]
        assert low <= (means | result)[name] <= high
    text = summary(means | result | {"num_questions": 6, "rules": "1.1"})
    assert "95 % intervals by article" in text and f"semantic {result['semantic']:.2f}" in text


def test_without_a_semantic_model_nothing_of_it_is_told(tmp_path):
    questions = questions_of(tmp_path / "q.parquet", [["cars"], ["1990"]])
    settings = Settings(evaluate=EvaluateSettings(semantic_model="none"))
    run = run_at(tmp_path / "run")
    result = analyse(settings, run, questions, {"q0": "navy", "q1": "1990"})
    analysis, rows = analysed(run)
    assert "semantic" not in result and result["intervals"].keys() == {"em", "f1"}
    assert {row["semantic"] for row in rows} == {None}
    assert analysis["missed"] == {"right_in_other_words": [], "right_in_tokens_only": []}
    assert "semantic" not in analysis["breakdowns"]["article"][0]


def decoded_of(run: RunFolder, questions: Questions, odds: list[float]) -> Any:
    """Decode two spans per question, and "no answer" where its odds are above 0."""
    size = len(odds)
    navy, cars = CONTEXT.index("the navy"), CONTEXT.index("cars")
    chosen = np.where(np.array(odds) > 0, -1, 3 * np.arange(size) + 1)
    answers = Answers(
        offsets=3 * np.arange(size + 1),
        char_start=np.array([0, cars, navy] * size, np.int32),
        char_end=np.array([0, cars + 4, navy + 8] * size, np.int32),
        score=np.array([1.0, 0.5, 0.0] * size, np.float32),
        probability=np.array([0.6, 0.3, 0.1] * size, np.float32),
        chosen=chosen,
        null_odds=np.array(odds, np.float32),
    )
    predictions, answered = write_answers(run, questions, answers)
    best_spans = answers.best_spans(questions.table["context"].to_pylist())
    return predictions, analysis.Decoded(answered, best_spans)


def test_a_model_under_2_0_rules_has_confidences_and_a_best_threshold(tmp_path):
    questions = questions_of(tmp_path / "q.parquet", [["cars"], ["cars"], [], []])
    run = run_at(tmp_path / "run")
    predictions, decoded = decoded_of(run, questions, [-1.0, 2.0, 3.0, -2.0])
    assert list(predictions.values()) == ["cars", "", "", "cars"]
    assert set(decoded.best_spans) == {"cars"}
    result = analyse(Settings(), run, questions, predictions, decoded)
    analysis, rows = analysed(run)
    assert [row["score"] for row in rows] == pytest.approx([0.3, 0.6, 0.6, 0.3])
    assert [row["semantic"] for row in rows] == [100, 0, 100, 0]
    # By rising odds -2, -1, 2, 3: only the first of the four is better left unanswered.
    assert result["best_f1"] == result["best_em"] == 75 and result["best_threshold"] == 2
    assert len(analysis["no_answer"]["curve"]) == 4
    means = metrics.score(questions.table, predictions).summary()
    for name in ("em", "has_ans_em", "has_ans_f1", "no_ans_em", "no_ans_f1"):
        low, high = result["intervals"][name]
        assert low <= means[name] <= high
    assert 0 <= result["calibration_error"] <= 1 and 0 <= result["aurc"] <= 1
    classes = {group["name"] for group in analysis["breakdowns"]["answer length"]}
    assert classes == {"1 word", "no answer"}
    silent = next(case for case in analysis["examples"] if case["id"] == "q2")
    assert silent["char_start"] is None and silent["answer"] == "" and silent["gold"] == []


def test_the_printed_threshold_gives_the_printed_score(tmp_path):
    questions = questions_of(tmp_path / "q.parquet", [["cars"], []])
    odds = [0.12345678, 0.12345681]  # neighbours, alike in four digits
    run = run_at(tmp_path / "run")
    predictions, decoded = decoded_of(run, questions, odds)
    result = analyse(Settings(), run, questions, predictions, decoded)
    means = metrics.score(questions.table, predictions).summary()
    text = summary(means | result | {"num_questions": 2, "rules": "2.0"})
    printed = np.float32(float(re.search(r"no-answer-threshold (\S+)", text)[1]))
    assert result["best_f1"] == 100
    assert (np.array(odds, np.float32) > printed).tolist() == [False, True]


def test_semantic_scores_of_different_encoders_are_not_compared(tmp_path):
    questions = questions_of(tmp_path / "q.parquet", [["cars"], ["1990"], ["the navy"]])
    other = shutil.copytree(models.resolve("embedded"), tmp_path / "other")
    limits = other / "sentence_bert_config.json"
    limits.write_text(limits.read_text().replace("256", "128"))
    tables = []
    for number, name in enumerate(("embedded", "embedded", str(other))):
        settings = Settings(evaluate=EvaluateSettings(semantic_model=name))
        run = run_at(tmp_path / str(number))
        analyse(settings, run, questions, {"q0": "automobiles", "q1": "1991"})
        tables.append(analysis.read(run))
    assert analysis.why_no_semantic(*tables[:2]) is None
    assert analysis.compare_tables(*tables[:2]).keys() == {"em", "f1", "semantic"}
    assert "different sentence encoders" in analysis.why_no_semantic(*tables[1:])
    assert analysis.compare_tables(*tables[1:]).keys() == {"em", "f1"}


def test_two_runs_are_compared_from_their_folders(tmp_path):
    questions = questions_of(tmp_path / "q.parquet", [["cars"], ["1990"], ["the navy"]])
    settings = Settings(evaluate=EvaluateSettings(semantic_model="none"))
    runs = [run_at(tmp_path / name) for name in ("a", "b")]
    analyse(settings, runs[0], questions, {"q0": "cars"})
    analyse(settings, runs[1], questions, {"q0": "cars", "q1": "1990"})
    found = analysis.compare_tables(*map(analysis.read, runs))
    assert found["em"].difference == pytest.approx(100 / 3) and found["em"].p_value == 1
    with pytest.raises(DataError, match="holds no scores"):
        analysis.read(run_at(tmp_path / "c"))


@pytest.mark.parametrize("is_old", [False, True])
def test_only_the_same_questions_are_paired_whatever_their_ids(tmp_path, is_old):
    lines = [f"Number {n}?,Context {n} says {n}.,{n}" for n in range(6)]
    tables = []
    # Without ids a row's number is its id: those of the second file are one off.
    for number, rows in enumerate((lines, [lines[0], *lines], lines[2:])):
        path = tmp_path / f"{number}.csv"
        path.write_text("\n".join(["question,context,answer", *rows]))
        questions = load_questions(DataSettings(source=str(path)), "eval")
        run = run_at(tmp_path / str(number))
        settings = Settings(evaluate=EvaluateSettings(semantic_model="none"))
        analyse(settings, run, questions, {f"row-{rows.index(lines[3])}": "3"})
        table = analysis.read(run)
        tables.append(table.drop_columns("content_hash") if is_old else table)
    first, repeated, shifted = tables
    if is_old:  # titles, made of the contexts, differ
        with pytest.raises(DataError, match="no question in common: 4 equal ids are of different"):
            analysis.compare_tables(first, shifted)
        return
    found = analysis.compare_tables(first, shifted)["em"]
    assert found.num_questions == 4 and found.difference == 0 == found.low
    assert "4 equal ids" in analysis.why_fewer(first, shifted)
    assert analysis.compare_tables(first, repeated)["em"].num_questions == 6
    assert analysis.why_fewer(first, first) is None


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("In what year?", "what"),
        ("How many were there, and who?", "how many"),
        ("How much is it?", "how many"),
        ("How was it?", "how"),
        ("By whom?", "who"),
        ("Name the show.", "other"),
    ],
)
def test_questions_are_classed_by_their_first_question_word(question, word):
    assert question_word(question) == word


def test_errors_are_a_file_with_all_that_is_needed_to_see_why(tmp_path):
    golds = [["cars", "1,000 cars"], ["1990"], [], ["the navy"], ["cars"]]
    questions = questions_of(tmp_path / "q.parquet", golds)
    answers = {"q0": 'so-called "cars", \nmostly', "q1": "1990", "q2": "na\rvy", "q3": ""}
    run = run_at(tmp_path / "run")
    analyse(Settings(), run, questions, answers)
    lines = list(csv.DictReader(io.StringIO(run.read_text("errors.csv"), newline="")))
    # Exact matches and, under 2.0 rules, questions without a prediction are no errors.
    assert [line["id"] for line in lines] == ["q2", "q3", "q0"]
    assert lines[0]["answer"] == answers["q2"]  # a lone \r ends no row
    worst = lines[-1]
    assert worst["answer"] == answers["q0"] and worst["golds"] == "cars | 1,000 cars"
    assert float(worst["f1"]) == 50 and worst["score"] == ""
    assert worst["question"] == "What did it build?" and "1,000 cars" in worst["context"]
    mistakes = json.loads(run.read_text("analysis.json"))["mistakes"]
    assert [case["id"] for case in mistakes] == ["q2", "q3", "q0"]


def test_a_models_most_confident_errors_come_first(tmp_path):
    questions = questions_of(tmp_path / "q.parquet", [["1990"], ["cars"], ["1990"], []])
    run = run_at(tmp_path / "run")
    predictions, decoded = decoded_of(run, questions, [-1.0, 2.0, -3.0, -2.0])
    analyse(Settings(), run, questions, predictions, decoded)
    lines = list(csv.DictReader(io.StringIO(run.read_text("errors.csv"), newline="")))
    scores = [float(line["score"]) for line in lines]
    assert len(lines) == 4 and scores == sorted(scores, reverse=True)


def test_an_error_in_a_long_context_shows_where_answer_and_gold_stand():
    context = "x" * 1_000 + "gold" + "y" * 500 + "answer" + "z" * 1_000
    window = errors._window(context, [(1_000, 1_004), (1_504, 1_510)])
    assert "gold" in window and "answer" in window and len(window) < 1_000
    assert window.startswith("…") and window.endswith("…")
