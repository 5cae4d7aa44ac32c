"""Which run folder a job writes to: a name that the user gives, or the next free JOB-RECIPE-NNN."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ConfigError
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder

if TYPE_CHECKING:
    from qa_lib.config import Settings

CONFIG, RESULT = "config.yaml", "result.json"


def choose(settings: Settings, job: str) -> str | None:
    """Return the path or URL of the run folder that the settings name; nothing is created.

    Returns:
        The path, or None if the run gets the next free default name.

    Raises:
        ConfigError: The name is taken, there is nothing to resume, or what would be replaced is no
            run folder.
    """
    with storage_errors(settings):
        name = settings.run_name
        if name is None:
            taken = _taken_numbers(settings, job)
            if not settings.resume:
                return None
            if not taken:
                raise ConfigError(
                    f"--resume: {settings.storage} holds no run {_prefix(settings, job)}NNN.",
                    "Name the run with --run-name, or leave --resume to start a new one.",
                )
            name = f"{_prefix(settings, job)}{max(taken):03d}"
        run = Folder(_join(settings, name), patient=False)
        if settings.resume:
            _check_resumable(run, job, settings)
        elif run.exists() and not settings.overwrite:
            raise ConfigError(
                f"The run name {name} is in use: {run.path} exists.",
                "Choose another --run-name, continue it with --resume, or replace it with "
                "--overwrite.",
            )
        elif run.exists() and not _is_run(run):
            raise ConfigError(
                f"--overwrite would delete {run.path}, which is no run folder.",
                "Choose another --run-name, or remove it yourself.",
            )
        return run.path


def create_next(settings: Settings, job: str) -> str:
    """Create the next free JOB-RECIPE-NNN and return its path.

    On a disk, two jobs that start together get two folders. Object stores cannot guarantee that:
    name the jobs that start there within the same second.
    """
    number = max(_taken_numbers(settings, job), default=0) + 1
    while True:
        run = Folder(_join(settings, f"{_prefix(settings, job)}{number:03d}"))
        if not storage.is_local(run.path):
            run.make()
            return run.path
        try:
            os.makedirs(run.root, exist_ok=False)
            return run.path
        except FileExistsError:
            number += 1


def read_result(folder: Folder) -> dict[str, Any]:
    """Return a run's result.json, or nothing if there is none yet.

    Raises:
        ConfigError: The file is damaged.
    """
    if not folder.exists(RESULT):
        return {}
    try:
        result = json.loads(folder.read_text(RESULT))
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise ConfigError(
            f"{folder.url(RESULT)} is damaged: it holds no JSON object.",
            "Restore it, or start anew under another --run-name.",
        )
    return result


@contextmanager
def storage_errors(settings: Settings) -> Iterator[None]:
    """Turn a filesystem's errors into one that names the storage."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"The storage {settings.storage} cannot be used: {storage.first_line(error)}",
            "Give a folder or bucket that this user may write, with --storage.",
        ) from None


def _check_resumable(run: Folder, job: str, settings: Settings) -> None:
    if not run.exists(RESULT):
        raise ConfigError(
            f"--resume: there is no run {run.name} in {settings.storage}.",
            "Check --run-name and --storage, or leave --resume to start it.",
        )
    earlier = read_result(run).get("job")
    if earlier != job:
        raise ConfigError(
            f"--resume: {run.path} is a run of jobs.{earlier}, not of jobs.{job}.",
            f"Resume it with `python -m jobs.{earlier} --resume --run-name {run.name}`.",
        )


def _is_run(folder: Folder) -> bool:
    """Say whether a folder may be replaced: it is a run's, or empty."""
    from pyarrow.fs import FileType

    if folder.info().type != FileType.Directory:
        return False
    return folder.exists(CONFIG) or folder.exists(RESULT) or not folder.entries()


def _prefix(settings: Settings, job: str) -> str:
    recipe = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(settings.recipe).stem)
    return f"{job}-{recipe}-"


def _taken_numbers(settings: Settings, job: str) -> list[int]:
    """Return the NNN of the runs JOB-RECIPE-NNN in the storage."""
    pattern = re.compile(re.escape(_prefix(settings, job)) + r"(\d{3,})")
    entries = Folder(settings.storage, patient=False).entries()
    matches = [pattern.fullmatch(entry.base_name) for entry in entries]
    return [int(match[1]) for match in matches if match]


def _join(settings: Settings, name: str) -> str:
    return f"{settings.storage.rstrip('/')}/{name}"
