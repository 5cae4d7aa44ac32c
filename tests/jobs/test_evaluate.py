"""jobs.evaluate: the pool of actors against one plain model, predictions files, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import jobs.evaluate
from qa_lib import config, evaluation, models
from qa_lib.config import DataSettings, EvaluateSettings, Settings, TrainSettings
from qa_lib.data import SCHEMA, Questions, load_questions
from qa_lib.errors import DataError, ModelError, ResourceError
from qa_lib.evaluation.answers import NO_SPAN_ODDS
from qa_lib.runs.run_folder import RunFolder

REPOSITORY = Path(__file__).resolve().parents[2]
N_BEST, MAX_ANSWER_LENGTH, MAX_LENGTH, STRIDE = 20, 30, 64, 20


def run_job(storage: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the job's body in a fresh process, and refuse heavy imports where a file is scored."""
    code = (
        "import sys; from jobs import evaluate;"
        "code = evaluate.JOB.exit_code();"
        "print('HEAVY', sorted({'ray', 'torch', 'transformers'} & set(sys.modules)));"
        "sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "--storage", str(storage), *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )


def result_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


# --- a file of predictions ------------------------------------------------------------------------


def test_right_answers_score_100_with_neither_ray_nor_a_model(tmp_path):
    questions = load_questions(DataSettings(), "eval")
    rows = questions.table.select(["id", "answers"]).to_pylist()
    right = {row["id"]: row["answers"]["text"][0] for row in rows}
    path = write(tmp_path / "right.json", right)
    done = run_job(tmp_path, "--predictions", path, "--evaluate.semantic-model", "none")
    assert done.returncode == 0, done.stderr
    assert "EM 100.00  F1 100.00" in done.stdout and "HEAVY []" in done.stdout
    run = tmp_path / "evaluate-quickstart-001"
    result = result_of(run)
    assert result["em"] == result["f1"] == 100 and result["num_questions"] == len(questions)
    assert result["eval_fingerprint"] == questions.fingerprint
    assert json.loads((run / "predictions.json").read_text()) == right


def test_missing_and_superfluous_ids_are_named(tmp_path):
    rows = load_questions(DataSettings(), "eval").table.select(["id", "answers"]).to_pylist()
    some = {row["id"]: row["answers"]["text"][0] for row in rows[3:]}
    path = write(tmp_path / "some.json", some | {"stranger": "x"})
    done = run_job(tmp_path, "--predictions", path, "--run-name", "some")
    assert done.returncode == 0, done.stderr
    missing = [row["id"] for row in rows[:3]]
    assert "3 questions have no prediction and score 0: " + ", ".join(missing) in done.stdout
    assert "1 predictions belong to no question: stranger" in done.stdout
    result = result_of(tmp_path / "some")
    assert result["em"] == pytest.approx(100 * (len(rows) - 3) / len(rows))
    assert result["missing_ids"] == missing and result["num_missing"] == 3


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "cannot be read"), ("not json", "not JSON"), (["a"], "JSON list"), ({"a": 1}, "of a")],
)
def test_what_is_no_predictions_file_exits_with_2(tmp_path, content, cause):
    path = tmp_path / "bad.json"
    if content is not None:
        write(path, content)
    done = run_job(tmp_path, "--predictions", str(path), "--run-name", "bad")
    assert done.returncode == 2
    assert cause in done.stderr and "bad.json" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "bad").exists()


def test_a_file_is_compared_in_meaning_with_the_encoder_and_no_ray(tmp_path):
    rows = load_questions(DataSettings(), "eval").table.select(["id", "answers"]).to_pylist()
    wrong = {row["id"]: "nobody at all" for row in rows}
    done = run_job(tmp_path, "--predictions", write(tmp_path / "wrong.json", wrong))
    assert done.returncode == 0, done.stderr
    assert "'torch'" in done.stdout and "'ray'" not in done.stdout
    run = tmp_path / "evaluate-quickstart-001"
    result, analysis = result_of(run), json.loads((run / "analysis.json").read_text())
    assert 0 < result["semantic"] < 50 and result["em"] == 0
    low, high = result["intervals"]["semantic"]
    assert low < result["semantic"] < high
    assert len(analysis["examples"]) == 30 and "semantic" in done.stdout
    for case in analysis["examples"]:
        assert case["context"].startswith(case["gold"][0], case["gold_start"])
    assert pq.read_table(run / "scores.parquet").num_rows == len(rows)


def test_a_missing_encoder_is_named_before_a_file_is_scored(tmp_path):
    path = write(tmp_path / "answers.json", {})
    flags = ("--evaluate.semantic-model", "./no-encoder", "--run-name", "bad")
    done = run_job(tmp_path, "--predictions", path, *flags)
    assert done.returncode == 2 and "no-encoder" in done.stderr
    assert "HEAVY []" in done.stdout and not (tmp_path / "bad" / "predictions.json").exists()


@pytest.mark.squad
def test_published_predictions_from_the_command_line(tmp_path, squad_dir):
    flags = ("--data.source", str(squad_dir), "--data.version", "2.0", "--run-name", "nlnet")
    path = squad_dir / "predictions" / "v2.0-nlnet.json"
    done = run_job(tmp_path, "--predictions", str(path), *flags)
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "nlnet")
    published = {"em": 75.8275, "f1": 78.7778, "has_ans_f1": 75.5277, "no_ans_f1": 82.0185}
    assert {name: result[name] for name in published} == pytest.approx(published, abs=5e-5)
    assert result["num_questions"] == 11_873


# --- a model --------------------------------------------------------------------------------------


def some_questions(path: Path, num_questions: int, *, unanswerable: int = 0) -> Questions:
    """Take embedded questions, some without answers, and one whose question fits no window."""
    rows = load_questions(DataSettings(), "eval").table.slice(0, num_questions).to_pylist()
    for row in rows[:unanswerable]:
        row["answers"] = {"text": [], "answer_start": []}
    rows[-1]["question"] = "why " * MAX_LENGTH
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return load_questions(DataSettings(source=str(path)), "eval")


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model, with the head that is drawn for it."""
    folder = str(tmp_path_factory.mktemp("headed"))
    models.save(models.load("embedded"), models.load_tokenizer("embedded"), folder)
    return folder


def settings_of(**fields: Any) -> Settings:
    return Settings(
        data=DataSettings(max_length=MAX_LENGTH, stride=STRIDE),
        train=TrainSettings(precision="fp32", device="cpu"),
        evaluate=EvaluateSettings(
            batch_size=16, n_best=N_BEST, max_answer_length=MAX_ANSWER_LENGTH, **fields
        ),
    )


def one_by_one(questions: Questions) -> tuple[dict[str, str], dict[str, float]]:
    """Answer each question with the tokenizer's own windows, one unpadded window at a time.

    Returns the best answers, and how far "no answer" is above each.
    """
    model, tokenizer = models.load("embedded"), models.load_tokenizer("embedded")
    predictions, odds = {}, {}
    for row in questions.table.to_pylist():
        if len(tokenizer(row["question"])["input_ids"]) >= MAX_LENGTH:
            predictions[row["id"]], odds[row["id"]] = "", NO_SPAN_ODDS
            continue
        windows = tokenizer(
            row["question"],
            row["context"],
            truncation="only_second",
            max_length=MAX_LENGTH,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        candidates, nulls = [], []
        for number, ids in enumerate(windows["input_ids"]):
            with torch.inference_mode():
                output = model(
                    input_ids=torch.tensor([ids]),
                    token_type_ids=torch.tensor([windows["token_type_ids"][number]]),
                )
            starts, ends = output.start_logits[0].numpy(), output.end_logits[0].numpy()
            nulls.append(starts[0] + ends[0])
            segments = windows.sequence_ids(number)
            offsets = windows["offset_mapping"][number]
            for start in np.argsort(starts, kind="stable")[: -N_BEST - 1 : -1]:
                for end in np.argsort(ends, kind="stable")[: -N_BEST - 1 : -1]:
                    if segments[start] == segments[end] == 1 and 0 <= end - start < 30:
                        span = offsets[start][0], offsets[end][1]
                        candidates.append((starts[start] + ends[end], span))
        score, (first, last) = max(candidates, key=lambda candidate: candidate[0])
        predictions[row["id"]] = row["context"][first:last]
        odds[row["id"]] = float(min(nulls) - score)
    return predictions, odds


@pytest.mark.slow
def test_two_actors_answer_as_one_plain_model_does(tmp_path, ray_session, headed):
    questions = some_questions(tmp_path / "eval.parquet", 60)
    settings = settings_of(num_actors=2)
    with RunFolder.open(settings.model_copy(update={"storage": str(tmp_path)}), "evaluate") as run:
        result = evaluation.evaluate(settings, run, headed, questions).fields()
    predictions = json.loads(run.read_text("predictions.json"))
    assert predictions == one_by_one(questions)[0]
    assert list(predictions) == questions.table["id"].to_pylist()
    assert result["num_questions"] == result["total"] == 60
    assert result["num_windows"] > 2 * 60 and result["num_eval_too_long"] == 1
    assert result["windows_per_s"] > 0 and result["eval_precision"] == "fp32"
    assert result["eval_peak_memory_bytes"] > 2**27
    answers = pq.read_table(Path(run.path) / "answers.parquet")
    assert answers["answer"].to_pylist() == list(predictions.values())
    assert ((answers["score"].to_numpy() > 0) == (answers["char_end"].to_numpy() > 0)).all()


@pytest.mark.slow
def test_without_answers_the_null_threshold_decides(tmp_path, ray_session, headed):
    questions = some_questions(tmp_path / "eval.parquet", 40, unanswerable=20)
    best, expected_odds = one_by_one(questions)
    threshold = float(np.median(list(expected_odds.values())))
    settings = settings_of(no_answer_threshold=threshold)
    with RunFolder.open(settings.model_copy(update={"storage": str(tmp_path)}), "evaluate") as run:
        result = evaluation.evaluate(settings, run, headed, questions).fields()
    odds = json.loads(run.read_text("null_odds.json"))
    assert odds == pytest.approx(expected_odds, abs=1e-4)
    predictions = json.loads(run.read_text("predictions.json"))
    assert predictions == {key: "" if odds[key] > threshold else best[key] for key in best}
    assert sum(text == "" for text in predictions.values()) == 20
    assert models.no_answer_threshold(headed) == threshold
    assert result["has_ans_total"] == result["no_ans_total"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["NaN", "truncated"])
def test_a_damaged_model_is_an_error_that_says_so(tmp_path, ray_session, damage):
    model, tokenizer = models.load("embedded"), models.load_tokenizer("embedded")
    model.qa_outputs.weight.data[0, 0] = float("nan")
    models.save(model, tokenizer, tmp_path / "model")
    if damage == "truncated":
        weights = tmp_path / "model" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
    questions = some_questions(tmp_path / "eval.parquet", 5)
    settings = settings_of()
    run = RunFolder.open(settings.model_copy(update={"storage": str(tmp_path)}), "evaluate")
    with pytest.raises(ModelError, match="not finite" if damage == "NaN" else "is damaged"):
        evaluation.evaluate(settings, run, str(tmp_path), questions)


def test_more_actors_than_fit_are_refused_at_once(tmp_path, ray_session, headed):
    questions = some_questions(tmp_path / "eval.parquet", 5)
    settings = settings_of(num_actors=1000)
    run = RunFolder.open(settings.model_copy(update={"storage": str(tmp_path)}), "evaluate")
    with pytest.raises(ResourceError, match="num-actors 1000"):
        evaluation.evaluate(settings, run, headed, questions)


@pytest.mark.slow
def test_the_job_ends_on_this_machine_as_it_is(tmp_path, headed):
    flags = ("--data.eval-limit", "12", "--train.device", "cpu", "--run-name", "small")
    flags += ("--model.name", headed)
    done = run_job(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    assert "over 12 of 12 questions" in done.stdout and "evaluating: 12 of 12" in done.stderr
    ours = ("evaluating: ", "comparing meanings: ")
    assert [line for line in done.stderr.splitlines() if not line.startswith(ours)] == []
    assert result_of(tmp_path / "small")["status"] == "done"


def test_a_dry_run_counts_and_writes_nothing(tmp_path, capsys, headed):
    flags = ["--storage", str(tmp_path), "--data.eval-limit", "7", "--dry-run", "json"]
    flags += ["--model.name", headed]
    jobs.evaluate.JOB.execute(config.parse("evaluate", flags))
    assert '"num_questions": 7' in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_dry_run_says_where_no_question_fits(tmp_path, headed):
    flags = ["--storage", str(tmp_path), "--data.eval-limit", "7", "--dry-run", "json"]
    flags += ["--model.name", headed, "--data.max-length", "16", "--data.stride", "0"]
    asked = {
        "question": "who " * 40,
        "context": "Ann did.",
        "answers": {"text": [], "answer_start": []},
    }
    source = tmp_path.parent / f"{tmp_path.name}.jsonl"
    source.write_text(json.dumps(asked | {"is_impossible": True}))
    with pytest.raises(DataError, match="No question leaves room"):
        jobs.evaluate.JOB.execute(
            config.parse("evaluate", [*flags, "--data.eval-source", str(source)])
        )
