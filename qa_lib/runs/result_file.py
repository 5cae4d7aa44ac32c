"""result.json as it is read: what a run says of itself, and what became of its process."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from qa_lib.config import versions
from qa_lib.errors import ConfigError
from qa_lib.runs import json_text, lock, storage
from qa_lib.runs.folder import Folder

RESULT = "result.json"


def read_result(folder: Folder) -> dict[str, Any]:
    """Return a run's result.json, or nothing if there is none yet.

    Raises:
        ConfigError: The file is damaged, of a later version, or not this user's to read.
    """
    try:
        if not folder.exists(RESULT):
            return {}
        result = json_text.parse(folder.read_text(RESULT))
    except PermissionError as error:
        raise ConfigError(
            f"{folder.path} cannot be read: {storage.first_line(error)}",
            "Name a folder that this user may read.",
        ) from None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise ConfigError(
            f"{folder.url(RESULT)} is damaged: it holds no JSON object.",
            "Restore it, or start anew under another --run-name.",
        )
    if problem := versions.problem_of(result):
        raise ConfigError(
            f"{folder.url(RESULT)} cannot be read: {problem}.",
            "Read it with the version that wrote it.",
        )
    return result


def lost_writer(folder: Folder, result: dict[str, Any]) -> str:
    """Say what became of a run whose status is still running; nothing if that is true, or not so.

    A killed process cannot write another status.
    """
    if result.get("status") != "running":
        return ""
    owner = lock.read(folder)
    if owner is None:
        who = "no process holds its lock"
    elif owner.is_alive:
        return ""
    else:
        who = f"its writer ({owner}) is gone"
    return f"{folder.path} says that it is running, but {who}: it was killed, or its machine lost"


def lost_run(path: str) -> str:
    """Say what became of a local run whose process was lost; nothing of any other path or URL."""
    if storage.is_local(path):
        folder = Folder(path)
        with suppress(ConfigError):
            return lost_writer(folder, read_result(folder))
    return ""
