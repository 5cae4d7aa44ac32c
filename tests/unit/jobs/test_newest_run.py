"""A job without a named run takes the newest that fits, and says which."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from jobs import evaluate
from jobs._runner import Job
from qa_lib import config

SEEN: list[str] = []
JOB = Job(
    "demo",
    lambda settings: SEEN.append(settings.model.name),
    has_run_folder=False,
    reads_runs_of=("train", "adjust"),
)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    runs = {
        "old": ("train", "done", "2026-01-01T10:00:00+00:00"),
        "newest": ("adjust", "done", "2026-03-01T10:00:00+00:00"),
        "a-broken-one": ("train", "failed", "2026-04-01T10:00:00+00:00"),
        "scores": ("evaluate", "done", "2026-05-01T10:00:00+00:00"),
    }
    for name, (job, status, started) in runs.items():
        (tmp_path / name).mkdir()
        result = {"job": job, "run_name": name, "status": status, "started_at": started}
        (tmp_path / name / "result.json").write_text(json.dumps(result))
    (tmp_path / "cache").mkdir()
    (tmp_path / "notes.txt").write_text("no run")
    SEEN.clear()
    return tmp_path


@pytest.fixture
def command(monkeypatch):
    """Do what a command of the job does."""

    def command(storage: Path, *flags: str) -> None:
        monkeypatch.setattr(sys, "argv", ["demo", "--storage", str(storage), *flags])
        with pytest.raises(SystemExit, match="^0$"):
            JOB.main()

    return command


def test_the_newest_finished_run_of_a_fitting_job_is_taken_and_named(storage, command, capsys):
    command(storage)
    assert SEEN == [str(storage / "newest")]
    assert f"the newest is {storage / 'newest'}" in capsys.readouterr().err


def test_a_named_model_stays(storage, command, capsys):
    command(storage, "--model.name", "runs/mine")
    command(storage, "--model.name", "embedded")
    command(storage / "cache")  # there is no run to take
    assert SEEN == ["runs/mine", "embedded", "embedded"]
    assert not capsys.readouterr().err


def test_a_predictions_file_needs_no_run(storage):
    flags = ["--storage", str(storage), "--predictions", "mine.json"]
    settings = config.parse("evaluate", flags)
    assert evaluate.JOB._with_newest_run(settings) is settings
