"""Replacing a run with --overwrite: the old one is kept as NAME.replaced until the new is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyarrow import fs

from qa_lib.errors import ConfigError
from qa_lib.runs import lock, storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.result_file import RESULT, read_result

if TYPE_CHECKING:
    from qa_lib.config import Settings

_SUFFIX = ".replaced"


def check(run: Folder, job: str, settings: Settings) -> None:
    """Refuse to replace what is not a run of the same job, a link, or what the new run reads.

    Raises:
        ConfigError: Nothing has been touched.
    """
    if run.info().type != fs.FileType.Directory:
        raise _no_run(run)
    if has_not_begun(run):
        return
    result = read_result(run)
    if result.get("run_name") != run.name or "job" not in result:
        raise _no_run(run)
    if result["job"] != job:
        raise ConfigError(
            f"--overwrite: {run.path} is a run of jobs.{result['job']}, not of jobs.{job}.",
            "Choose another --run-name, or remove it yourself.",
        )
    if storage.is_local(run.path) and os.path.islink(run.root):  # it alone would be moved
        raise ConfigError(
            f"--overwrite: {run.path} is a link to {os.path.realpath(run.root)}, and what is there"
            " would stay.",
            "Choose another --run-name, or remove the link first.",
        )
    place = _place(run.path)
    for flag, value in _read_by(settings):
        if f"{_place(value)}/".startswith(f"{place}/"):
            raise ConfigError(
                f"--overwrite would delete {run.path}, which {flag} {value} reads.",
                "Choose another --run-name.",
            )


def has_not_begun(run: Folder) -> bool:
    """Say whether a folder is empty, or has a lock alone, of a start that was killed at once."""
    return run.info().type == fs.FileType.Directory and {
        entry.base_name for entry in run.entries()
    } <= {lock.LOCK}


def refuse_leftover(run: Folder) -> None:
    """Say what NAME.replaced is where an earlier --overwrite has left it.

    Raises:
        ConfigError: It is there.
    """
    old = _aside(run)
    if not old.exists():
        return
    if not holds_replaced(run):
        problem = "is in the way: --overwrite keeps the old run there"
        remedy = "Look into it, and move or remove it."
    elif run.exists():
        raise ConfigError(
            f"{describe(run)}.", "Continue the new run with --resume, or remove one of the two."
        )
    else:
        problem = f"is the run {run.name}, which an --overwrite moved there before it was stopped"
        remedy = f"Move it back to {run.path}, or remove it."
    raise ConfigError(f"{old.path} {problem}.", remedy)


def describe(run: Folder) -> str:
    """Say which run NAME.replaced holds."""
    return f"{_aside(run).path} is the run that {run.path}, not done yet, was to replace"


def holds_replaced(run: Folder) -> bool:
    """Say whether NAME.replaced is a run that bore this run's name."""
    return read_result(_aside(run)).get("run_name") == run.name


def move_aside(run: Folder) -> None:
    """Move a run to NAME.replaced, unless another process writes it."""
    held = lock.take(run)
    old = _aside(run)
    try:
        run.move(old)
    finally:
        held.release()
    old.remove(lock.LOCK)


def put_back(run: Folder) -> None:
    """Remove what a new run has written, and move the old one back."""
    run.remove()
    _aside(run).move(run)


def remove_replaced(run: Folder) -> None:
    """Remove the run that this one has replaced, if there is one."""
    if holds_replaced(run):
        _aside(run).remove()


def _aside(run: Folder) -> Folder:
    base = storage.without_options(run.path)
    return Folder(f"{base.rstrip('/')}{_SUFFIX}{run.path[len(base) :]}", patient=run.patient)


def _no_run(run: Folder) -> ConfigError:
    return ConfigError(
        f"--overwrite would delete {run.path}, which is no run folder: no {RESULT} there says that"
        f" it is the run {run.name}.",
        "Choose another --run-name, or remove it yourself.",
    )


def _read_by(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield flag and value of all that a job may read."""
    values = {
        "--model.name": settings.model.name,
        "--train.teacher": settings.train.teacher,
        "--train.teacher-only-source": settings.train.teacher_only_source,
        "--search.parent": settings.search.parent,
        "--data.source": settings.data.source,
        "--data.eval-source": settings.data.eval_source,
        "--adjust.plan": settings.adjust.plan,
        "--predictions": settings.predictions,
        "--evaluate.semantic-model": settings.evaluate.semantic_model,
    }
    yield from ((flag, value) for flag, value in values.items() if value is not None)
    yield from (("--compare.runs", name) for name in settings.compare.runs or ())


def _place(location: str) -> str:
    """Return a path or URL in the one form that places can be compared in."""
    if storage.is_local(location):
        return os.path.realpath(os.path.expanduser(location.removeprefix("file://")))
    scheme, _, path = location.partition("://")
    parts = [part for part in path.partition("?")[0].split("/") if part]
    return f"{'gs' if scheme == 'gcs' else scheme}://{'/'.join(parts)}"
