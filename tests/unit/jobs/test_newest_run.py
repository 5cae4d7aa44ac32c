"""A job without a named run takes the newest that fits, and says which."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from jobs import evaluate
from jobs._runner import Job
from qa_lib import config, models
from qa_lib.errors import ConfigError, ModelError
from qa_lib.reporting.facts import require_files
from qa_lib.runs.folder import Folder
from qa_lib.runs.newest import newest_run
from qa_lib.runs.run_folder import RunFolder

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


def refuse_entry(monkeypatch, name: str) -> None:
    """Make a folder one that this user may not enter; root may enter any."""
    exists = Folder.exists

    def refusing(folder: Folder, file: str = "") -> bool:
        if folder.name == name:
            raise PermissionError(13, "Permission denied", folder.path)
        return exists(folder, file)

    monkeypatch.setattr(Folder, "exists", refusing)


def test_a_folder_that_cannot_be_read_is_left_out_with_a_note(
    storage, command, capsys, monkeypatch
):
    (storage / "truncated").mkdir()
    (storage / "truncated" / "result.json").write_text('{"job": "tra')
    (storage / "lost+found").mkdir()
    refuse_entry(monkeypatch, "lost+found")
    command(storage)
    assert SEEN == [str(storage / "newest")]
    said = capsys.readouterr().err
    assert "truncated/result.json is damaged" in said and "lost+found cannot be read" in said
    for name in ("newest", "old"):
        (storage / name / "result.json").unlink()
    settings = config.parse("demo", ["--storage", str(storage)])
    with pytest.raises(ConfigError, match=r"lost\+found cannot be read"):
        newest_run(settings, ("train", "adjust"))


def test_a_run_that_may_not_be_entered_is_no_traceback(storage, monkeypatch):
    refuse_entry(monkeypatch, "newest")
    with pytest.raises(ConfigError, match="newest cannot be read"):
        require_files(RunFolder(str(storage / "newest"), "report"), "result.json")
    with pytest.raises(ModelError, match=r"cannot be read|no model folder"):
        models.resolve(f"/{'long' * 70}")  # Python 3.14 says of any error that nothing is there


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
