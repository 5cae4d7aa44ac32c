"""Validation of the whole tree: every wrong field and every broken rule, in a user's words."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from qa_lib.config.fields import BOUND_WORDS, format_number, group_of, settings_in
from qa_lib.config.schema import Settings

_RULES = "value_error"  # pydantic's type of a RuleError, which its context holds
_KNOWN = {setting.key: setting for setting in settings_in(Settings)}


def validate(values: dict[str, Any], origins: dict[str, str]) -> tuple[Settings | None, list[str]]:
    """Return the settings, None where a rule is broken, and everything that is wrong with them.

    Args:
        values: Nested values, as recipe and flags give them; wrong ones are removed from it.
        origins: Where each dotted key was set, for the messages: a flag or a line of the recipe.
    """
    settings, errors = _try(values)
    wrong: dict[tuple[str, ...], list[Any]] = {}  # by path: a recipe's key may hold dots
    for error in errors:
        if error["type"] != _RULES:
            wrong.setdefault(_path_of(error["loc"]), []).append(error)
    if wrong:
        # With the wrong fields out of the way, the rules between the others can be checked too.
        for path in wrong:
            _remove(values, path)
        settings, errors = _try(values)
    problems = [_describe(".".join(path), details, origins) for path, details in wrong.items()]
    rules = (rule for error in errors for rule in error["ctx"]["error"].rules)
    for keys, message in rules:
        if not any(key.startswith(".".join(bad)) for key in keys for bad in wrong):
            problems.append(message)
    return settings, problems


def _try(values: dict[str, Any]) -> tuple[Settings | None, list[Any]]:
    try:
        return Settings.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _remove(values: dict[str, Any], path: tuple[str, ...]) -> None:
    *groups, name = path
    for group in groups:
        values = values[group]
    values.pop(name)


def _path_of(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the path of a pydantic location, without union members and list indices."""
    model: type[BaseModel] | None = Settings
    depth = 0
    while model is not None and depth < len(loc):
        field = model.model_fields.get(str(loc[depth]))
        model = group_of(field) if field else None
        depth += 1
    return tuple(str(part) for part in loc[:depth])


def _describe(key: str, details: list[Any], origins: dict[str, str]) -> str:
    """Return one line about one wrong field; `details` are pydantic's, one per union member."""
    where = f" ({origins[key]})" if key in origins else ""
    if details[0]["type"] == "extra_forbidden":
        return f"unknown setting {key}{where}{_meant(key)}"
    if details[0]["type"] in ("model_type", "model_attributes_type"):
        return f"{key}{where} is a group and must hold settings, such as `{key}: {{...}}`"
    # A list whose members are wrong counts as too short as well.
    details = [item for item in details if item["type"] != "too_short"] or details
    requirements = [*dict.fromkeys(_requirement(item) for item in details)]
    if _KNOWN[key].can_be_none:
        requirements.append("none")
    value = "none" if details[0]["input"] is None else repr(details[0]["input"])
    return f"{key} is {value}{where} but must be {' or '.join(requirements)}"


def _meant(key: str) -> str:
    """Return the setting that an unknown one may stand for, as the end of a message."""
    known = list(_KNOWN) if "." in key else list(Settings.model_fields)
    close = [k for k in _KNOWN if k.rpartition(".")[2] == key.rpartition(".")[2]]
    close = close or difflib.get_close_matches(key, known, n=1)
    if not close:
        return ""
    meant = close[0]
    if "." in meant and (meant == key or "." not in key):  # as a recipe has it: groups are nested
        meant = f"`{meant.replace('.', ': {')}: ...{'}' * meant.count('.')}`"
    return f": perhaps you meant {meant}"


def _requirement(error: Any) -> str:
    """Return pydantic's requirement as the end of "must be ..."."""
    kind, context = error["type"], error.get("ctx", {})
    for name, word in BOUND_WORDS.items():
        if name in context:
            return f"{word} {format_number(context[name])}"
    if kind == "string_pattern_mismatch":
        if "cpu" in context["pattern"]:
            return "of the form 0=10GiB or cpu=30GiB"
        if context["pattern"].startswith("^[A-Za-z_]"):
            return "MODULE:FUNCTION"
        if ":" in context["pattern"]:
            return "of the form MIN:MAX, such as 1:4"
        return "a name of letters, digits, dots, dashes and underscores"
    if kind == "too_short":
        return "at least one value" if context["min_length"] == 1 else "at least two values"
    if kind == "tuple_type":
        return f"a list{_as_list(error['input'])}"
    if kind == "literal_error":
        return f"{context['expected']}"
    if kind in _REQUIREMENTS:
        return _REQUIREMENTS[kind]
    return _REQUIREMENTS.get(
        kind.partition("_")[0], str(error["msg"]).removeprefix("Input should be ")
    )


def _as_list(value: Any) -> str:
    """Return how a list of what was given looks, as the end of "a list"."""
    if value is None or isinstance(value, dict):
        return ""
    return f", such as [{', '.join(str(value).replace(',', ' ').split())}]"


# By pydantic's type of error, or by its first word.
_REQUIREMENTS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "missing": "two values",
    "too_long": "two values",
    "string_type": "quoted text",
    "string_too_short": "text of at least 1 character",
    "string_too_long": "a shorter name",
}
