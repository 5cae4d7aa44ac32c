"""--resume auto: one command that begins a run, and goes on with it wherever it was lost."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from qa_lib import config
from qa_lib.config import Settings
from qa_lib.errors import ConfigError
from qa_lib.runs import lock, run_names
from qa_lib.runs.folder import Folder
from qa_lib.runs.run_folder import RunFolder


def settings_in(folder: Path | str, *argv: str) -> Settings:
    return config.parse("train", ["--storage", str(folder), *argv])


@pytest.fixture(params=["path", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "path" else f"memory://auto-{tmp_path.name}/runs"


def test_resume_auto_begins_a_run_and_then_goes_on_with_it(tmp_path: Path):
    for flags in (["--resume", "auto"], ["--resume", "auto", "--run-name", "mine"]):
        for begun in (False, True):
            settings = run_names.decided(settings_in(tmp_path, *flags), "train")
            with RunFolder.open(settings, "train") as run:
                assert run.resumed == begun
    assert settings_in(tmp_path, "--resume").resume is True


@pytest.mark.parametrize("name", ["mine", "train-quickstart-001"])
def test_resume_auto_begins_anew_where_a_start_was_killed_at_once(place: str, name: str):
    dead = dataclasses.replace(lock.Owner.new(), process_start=1, token="t")
    Folder(f"{place}/{name}").write_json(lock.LOCK, dataclasses.asdict(dead))
    named = ["--run-name", name] if name == "mine" else []
    settings = settings_in(place, "--resume", "auto", *named)
    for resumed in (False, True):
        with RunFolder.open(run_names.decided(settings, "train"), "train") as run:
            assert run.resumed == resumed and run.exists("config.yaml")


def test_resume_auto_waits_no_longer_than_it_says_whatever_the_clocks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    away = dataclasses.replace(lock.Owner.new(), machine="another", token="t")
    Folder(str(tmp_path)).write_json(lock.LOCK, dataclasses.asdict(away))
    waited: list[float] = []
    monkeypatch.setattr(lock.time, "sleep", waited.append)
    monkeypatch.setattr(lock.time, "time", lambda: 0.0)  # long before the disk's own
    monkeypatch.setattr(lock.time, "monotonic", lambda: sum(waited))
    lock.outlast(Folder(str(tmp_path)))
    assert sum(waited) <= lock.ABANDONED_S + 1


@pytest.mark.parametrize("is_alive", [False, True])
def test_resume_auto_waits_until_another_machine_is_certainly_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, is_alive: bool
):
    settings = settings_in(tmp_path, "--resume", "auto", "--run-name", "mine")
    RunFolder.open(settings_in(tmp_path, "--run-name", "mine"), "train").__exit__(None, None, None)
    folder, now = Folder(str(tmp_path / "mine")), time.time()
    away = dataclasses.replace(lock.Owner.new(), machine="another", host="node-7", token="t")
    folder.write_json(lock.LOCK, dataclasses.asdict(away))

    def wait(_: float) -> None:
        if is_alive:
            renewed = dataclasses.replace(away, beat_s=now + 30)
            folder.write_json(lock.LOCK, dataclasses.asdict(renewed))
        else:
            monkeypatch.setattr(lock.time, "time", lambda: now + lock.ABANDONED_S + 1)

    monkeypatch.setattr(lock.time, "sleep", wait)
    decided = run_names.decided(settings, "train")
    assert decided.resume is True and "node-7" in capsys.readouterr().err
    if is_alive:
        with pytest.raises(ConfigError, match="being written by .* on node-7"):
            RunFolder.open(decided, "train")
    else:
        assert RunFolder.open(decided, "train").resumed
