"""jobs.prepare from its command line: shards that a later job reads, counts, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qa_lib.config import DataSettings
from qa_lib.data import load_questions

REPOSITORY = Path(__file__).resolve().parents[2]


def prepare(storage: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.prepare", "--storage", str(storage), *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def write_lines(path: Path, num_rows: int, num_bad: int = 0) -> str:
    lines = [
        {
            "id": f"q{number}",
            "title": f"article {number // 10}",
            "context": f"{number}: Ada met Bo in Ghent.",
            "question": "Who?" if number >= num_bad else "",
            "answers": {"text": [str(number)], "answer_start": [0]},
        }
        for number in range(num_rows)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_the_embedded_questions_by_default(tmp_path):
    done = prepare(tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "prepare-quickstart-001"
    recorded = result(run)
    assert recorded["job"] == "prepare" and recorded["status"] == "done"
    for split in ("train", "eval"):
        embedded = load_questions(DataSettings(), split)
        prepared = load_questions(DataSettings(source=str(run / "data")), split)
        assert recorded["splits"][split]["num_questions"] == len(embedded)
        assert recorded["splits"][split]["fingerprint"] == embedded.fingerprint
        assert prepared.fingerprint == embedded.fingerprint
        assert f"{split}: {len(embedded):,} questions" in done.stdout
    assert f"--data.source {run / 'data'}" in done.stdout


def test_articles_are_held_out_when_training_and_not_before(tmp_path):
    source = write_lines(tmp_path / "mine.jsonl", 400)
    flags = ("--data.source", source, "--data.holdout-articles", "0.3", "--run-name", "p")
    assert prepare(tmp_path, *flags).returncode == 0
    prepared = DataSettings(source=str(tmp_path / "p/data"), holdout_articles=0.3)
    plain = DataSettings(source=source, holdout_articles=0.3)
    assert set(result(tmp_path / "p")["splits"]) == {"train"}  # a single file is no eval
    for split in ("train", "holdout"):
        assert (
            load_questions(prepared, split).fingerprint == load_questions(plain, split).fingerprint
        )


def test_a_dry_run_counts_and_writes_nothing(tmp_path):
    source = write_lines(tmp_path / "mine.jsonl", 40)
    done = prepare(tmp_path, "--data.source", source, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "train: 40 questions of 4 articles" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["mine.jsonl"]


def test_too_many_bad_rows_exit_with_2_and_can_be_looked_at(tmp_path):
    source = write_lines(tmp_path / "mine.jsonl", 40, num_bad=4)
    done = prepare(tmp_path, "--data.source", source, "--run-name", "p")
    assert done.returncode == 2
    assert "4 of 40 rows cannot be used" in done.stderr and "Traceback" not in done.stderr
    assert "--data.bad-row-limit 0.1" in done.stderr
    assert len((tmp_path / "p/quarantine-train.jsonl").read_text().splitlines()) == 4
    assert result(tmp_path / "p")["status"] == "failed"
    assert not (tmp_path / "p/data").exists()
    flags = ("--data.source", source, "--data.bad-row-limit", "0.1", "--run-name", "p")
    assert prepare(tmp_path, *flags, "--overwrite").returncode == 0
    assert result(tmp_path / "p")["splits"]["train"]["num_questions"] == 36
    assert result(tmp_path / "p")["splits"]["train"]["num_quarantined"] == 4


@pytest.mark.squad
def test_all_of_squad(tmp_path, squad_dir):
    done = prepare(tmp_path, "--data.source", str(squad_dir), "--run-name", "p")
    assert done.returncode == 0, done.stderr
    splits = result(tmp_path / "p")["splits"]
    assert splits["train"]["num_questions"] == 87_599 and splits["train"]["num_shards"] == 18
    assert splits["eval"]["num_questions"] == 10_570
    original = load_questions(DataSettings(source=str(squad_dir)), "train")
    assert original.fingerprint == splits["train"]["fingerprint"]
