"""Which run folder a job writes to: a name that the user gives, or the next free JOB-RECIPE-NNN."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ConfigError
from qa_lib.runs import lock, replacing, storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.result_file import RESULT, lost_writer, read_result

if TYPE_CHECKING:
    from qa_lib.config import Settings


def choose(settings: Settings, job: str) -> str | None:
    """Return the path or URL of the run folder that the settings name; nothing is created.

    Returns:
        The path, or None if the run gets the next free default name.

    Raises:
        ConfigError: The name is taken, another process writes the run, there is nothing to resume,
            or what would be replaced is no run of this job, or read by it.
    """
    with storage_errors(settings):
        name = settings.run_name
        if name is None:
            if not settings.resume:
                _taken_numbers(settings, job)  # the storage can be read
                return None
            name = _newest(settings, job)
            if name is None:
                raise ConfigError(
                    f"--resume: {settings.storage} holds no run {_prefix(settings, job)}NNN.",
                    "Name the run with --run-name, or leave --resume to start a new one.",
                )
        run = Folder(_join(settings, name), patient=False)
        lock.refuse_other(run)
        if settings.resume:
            _check_resumable(run, job, settings)
            return run.path
        if run.exists() and not (settings.overwrite or replacing.has_not_begun(run)):
            raise in_use(run)
        replacing.refuse_leftover(run)
        if run.exists():
            replacing.check(run, job, settings)
        return run.path


def decided(settings: Settings, job: str) -> Settings:
    """Return the settings with `resume` auto decided: whether there is a run to go on with.

    Where another machine wrote it until it was lost, this waits until that is certain.
    """
    if settings.resume != "auto":
        return settings
    with storage_errors(settings):
        name = settings.run_name or _newest(settings, job)
        begun = name is not None and holds_run(settings.model_copy(update={"run_name": name}))
        if name is not None and not settings.dry_run:
            lock.outlast(Folder(_join(settings, name), patient=False))
    return settings.model_copy(update={"resume": begun})


def in_use(run: Folder) -> ConfigError:
    """Return the refusal of a name that a run has already."""
    state = lost_writer(run, read_result(run)) if run.exists(RESULT) else ""
    return ConfigError(
        f"The run name {run.name} is in use: {state or f'{run.path} exists'}.",
        "Choose another --run-name, continue it with --resume, or replace it with --overwrite.",
    )


def create_next(settings: Settings, job: str) -> str:
    """Create the next free JOB-RECIPE-NNN and return its path.

    On a disk, two jobs that start together get two folders. Object stores cannot guarantee that:
    name the jobs that start there within the same second.
    """
    number = _next_number(settings, job)
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


def next_free(settings: Settings, job: str) -> str:
    """Return the next free name JOB-RECIPE-NNN; nothing is created."""
    with storage_errors(settings):
        return f"{_prefix(settings, job)}{_next_number(settings, job):03d}"


def holds_run(settings: Settings) -> bool:
    """Say whether there is a run of the name in the settings."""
    with storage_errors(settings):
        return Folder(_join(settings, str(settings.run_name)), patient=False).exists(RESULT)


def finished(settings: Settings) -> dict[str, Any] | None:
    """Return the result of the run of the name in the settings if it is done, or None."""
    result = read_result(Folder(_join(settings, str(settings.run_name))))
    return result if result.get("status") == "done" else None


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
        replacing.refuse_leftover(run)
        raise ConfigError(
            f"--resume: there is no run {run.name} in {settings.storage}.",
            "Check --run-name and --storage, or leave --resume to start it; --resume auto goes on"
            " with it or starts it.",
        )
    earlier = read_result(run).get("job")
    if earlier != job:
        raise ConfigError(
            f"--resume: {run.path} is a run of jobs.{earlier}, not of jobs.{job}.",
            f"Resume it with `python -m jobs.{earlier}`, and the flags of then.",
        )


def _prefix(settings: Settings, job: str) -> str:
    recipe = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(settings.recipe).stem)
    return f"{job}-{recipe}-"


def _next_number(settings: Settings, job: str) -> int:
    """Return the number after those of runs and of series of runs with several seeds."""
    return max(_taken_numbers(settings, job, r"(?:-seed-\d+)?"), default=0) + 1


def _newest(settings: Settings, job: str) -> str | None:
    """Return the name of the newest run JOB-RECIPE-NNN that has begun, or None."""
    for number in sorted(_taken_numbers(settings, job), reverse=True):
        name = f"{_prefix(settings, job)}{number:03d}"
        if holds_run(settings.model_copy(update={"run_name": name})):
            return name
    return None


def _taken_numbers(settings: Settings, job: str, ending: str = "") -> list[int]:
    """Return the NNN of the runs JOB-RECIPE-NNN in the storage; `ending` is a pattern."""
    pattern = re.compile(re.escape(_prefix(settings, job)) + r"(\d{3,})" + ending)
    entries = Folder(settings.storage, patient=False).entries()
    matches = [pattern.fullmatch(entry.base_name) for entry in entries]
    return [int(match[1]) for match in matches if match]


def _join(settings: Settings, name: str) -> str:
    return storage.join(settings.storage, name)
