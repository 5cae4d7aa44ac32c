"""What reading changes and leaves out is told: on stderr, in a dry run, in result.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import evaluate
from qa_lib import config, training
from qa_lib.data import load_questions, told

ROWS = "question,context,answer\nQ1,abc abc is 10,abc\nQ2,abc abc is 10,abc\nQ3,abc abc is 10,zzz\n"
FOUND = {"golds without offset found": 2, "of them in several places": 2}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(told, "_told", set())
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return str(path)


def test_a_source_that_is_read_twice_is_told_of_once(source, capsys):
    data = config.parse("train", ["--data.source", source, "--data.bad-row-limit", "0.5"]).data
    load_questions(data, "train")
    load_questions(data, "train")
    assert capsys.readouterr().err == (
        f"note: {source}, train: 1 rows left out as faulty, 2 golds without offset found,"
        " 2 of them in several places.\n"
    )
    load_questions(config.parse("train", []).data, "train")
    assert not capsys.readouterr().err  # nothing was changed, nothing is said


def test_a_dry_run_counts_what_it_would_train_on(source):
    flags = ["--data.source", source, "--data.bad-row-limit", "0.5"]
    settings = config.parse("train", flags)
    plan = training.describe(settings, load_questions(settings.data, "train"))
    assert (plan["num_train_questions"], plan["num_quarantined"]) == (2, 1)
    assert plan["train_notes"] == FOUND


def test_scores_say_what_they_are_of(source, tmp_path, capsys):
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps({"row-0": "abc", "row-1": "abc", "row-2": "zzz"}))
    flags = f"--data.source {source} --predictions {predictions} --evaluate.semantic-model none"
    settings = config.parse("evaluate", [*flags.split(), "--storage", str(tmp_path / "runs")])
    evaluate.JOB.execute(settings.model_copy(update={"run_name": "a"}))
    notes = json.loads((tmp_path / "runs/a/result.json").read_text())["eval_notes"]
    assert notes["golds not in their context"] == 1
    assert "1 golds not in their context" in capsys.readouterr().err
