"""What the driver of a training says when the training stops."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

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
