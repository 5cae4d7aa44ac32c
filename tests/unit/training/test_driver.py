"""What the driver of a training says when the training stops."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import driver


def test_the_command_that_goes_on_takes_names_with_spaces(tmp_path: Path, capsys):
    run = RunFolder(str(tmp_path / "my runs/mine"), "train")
    settings = SimpleNamespace(storage=str(tmp_path / "my runs"))
    task = SimpleNamespace(settings=settings, plan=SimpleNamespace(num_steps=9))
    driver._interrupted(task, run, 3)
    words = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert words[words.index("--storage") + 1] == settings.storage
    assert words[words.index("--recipe") + 1] == run.url("config.yaml")


@pytest.mark.parametrize(
    ("setting", "noted", "fits", "taken"),
    [
        ("auto", 8, 16, 8),  # another would drop other units
        ("auto", 16, 8, 8),  # as much as fits now
        ("auto", 3, 16, 16),  # of another number of workers
        ("auto", None, 16, 16),
        (16, 8, 16, 16),  # said by the user
    ],
)
def test_a_resumed_run_keeps_the_micro_batch_that_auto_found(
    tmp_path, monkeypatch, capsys, setting, noted, fits, taken
):
    found = SimpleNamespace(meta={} if noted is None else {"micro_batch": noted})
    store = SimpleNamespace(newest_good=lambda **_: found)
    monkeypatch.setattr(driver, "CheckpointStore", lambda _: store)
    monkeypatch.setattr(driver, "micro_batch_of", lambda *_: fits)
    train = SimpleNamespace(micro_batch=setting, global_batch=16, max_workers=1)
    settings, run = SimpleNamespace(train=train), RunFolder(str(tmp_path), "train")
    assert driver._micro_batch(settings, run, None, 384) == taken
    said = capsys.readouterr().err
    assert bool(said) == (setting == "auto" and noted not in (None, taken))
