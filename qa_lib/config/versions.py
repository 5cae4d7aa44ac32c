"""Versions of what runs leave behind: config.yaml and result.json carry a `schema_version`.

Files of an earlier version are read for ever: a change that gives a setting another name or meaning
raises the version and adds a step to `_MIGRATIONS`. A file of a later version is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEMA_VERSION = 2
KEY = "schema_version"


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    """Read a no-answer threshold of 0 in a config.yaml as none, which it stood for if not given."""
    rules = values.get("evaluate")
    if "recipe" in values and isinstance(rules, dict):  # a run wrote it: recipes name no other
        if rules.get("no_answer_threshold") == 0:
            values = values | {"evaluate": rules | {"no_answer_threshold": None}}
    return values


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""Steps from a version of config.yaml to the next. Files without a version are of version 1."""


def problem_of(values: Any) -> str:
    """Say what is wrong with the version that a file's values give; nothing of one that is read."""
    version = values.get(KEY, 1) if isinstance(values, dict) else 1
    if type(version) is not int or version < 1:
        return f"{KEY} is a number from 1 on, not {version!r}"
    if version > SCHEMA_VERSION:
        return (
            f"{KEY} is {version}: a later version of this suite wrote the file, and this one reads "
            f"up to {SCHEMA_VERSION}; install that version"
        )
    return ""


def migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings of an earlier version, whose number `problem_of` has passed, as of today."""
    version = values.pop(KEY, 1)
    while version < SCHEMA_VERSION:
        values = _MIGRATIONS[version](values)
        version += 1
    return values
