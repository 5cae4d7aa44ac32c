"""Flags and recipe to validated settings, with every problem reported at once.

Values stay text until pydantic validates the whole tree, so that one wrong value does not hide the
next. tyro formats the help.
"""

from __future__ import annotations

import difflib
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, TypedDict

from pydantic import BaseModel

from qa_lib.config import credentials, recipes
from qa_lib.config.fields import Setting, group_of, settings_in
from qa_lib.config.problems import validate
from qa_lib.config.schema import Settings
from qa_lib.errors import ConfigError


def parse(
    job: str,
    argv: Sequence[str] | None = None,
    description: str | None = None,
    *,
    first_groups: Sequence[str] = (),
    first_flags: Sequence[str] = (),
    positional: str | None = None,
) -> Settings:
    """Return the settings of a job from its command line.

    Args:
        job: Name of the job, for the help text and the messages ("train").
        argv: Flags without the program's name; None takes those of this process.
        description: Text that opens the help.
        first_groups: Groups whose flags the help shows before those of other groups.
        first_flags: Settings, by dotted name, that the help shows first of all, in short.
        positional: Flag that leading words belong to, such as "--model.name"; None: words need a
            flag.

    Raises:
        ConfigError: With everything that is wrong in flags, recipe and their combination.
        SystemExit: With code 0, after ``--help``.
    """
    given, stray, problems = _read_flags(_words(argv, positional))
    _refuse_secrets([(key, f"--{key.replace('_', '-')}", value) for key, value in given.items()])
    _refuse_secrets([("", "the command line", [*stray, *problems])])
    name = given.setdefault("recipe", Settings.model_fields["recipe"].default)
    recipe = recipes.read(name)
    _refuse_secrets([("", recipe.origin, recipe.values)])
    if "--help" in stray or "-h" in stray:
        _print_help(job, description, recipe.values, first_groups, first_flags)
    problems += recipe.problems
    problems += [f"{token!r} belongs to no flag" for token in stray]
    origins = {key: f"{recipe.origin} line {line}" for key, line in recipe.lines.items()}
    values = recipe.values
    if values.pop("overwrite", None) is not None:
        problems.append(
            f"overwrite ({recipe.origin} line {recipe.lines['overwrite']}) replaces a run: only "
            "the command line may ask for that, with --overwrite"
        )
    for key, value in given.items():
        origins[key] = f"--{key.replace('_', '-')}"
        _put(values, key, value)
    settings, found = validate(values, origins)
    problems += found
    if settings is None or problems:
        raise _as_error(job, problems)
    return settings


def is_given(key: str, argv: Sequence[str] | None = None, positional: str | None = None) -> bool:
    """Say whether a command line sets a setting itself, whatever the recipe does.

    Args:
        key: Dotted name, such as "model.name".
        argv: As of `parse`.
        positional: As of `parse`.
    """
    return key in _read_flags(_words(argv, positional))[0]


def _words(argv: Sequence[str] | None, positional: str | None) -> list[str]:
    words = list(sys.argv[1:] if argv is None else argv)
    if positional and words and not words[0].startswith("-"):
        words.insert(0, positional)
    return words


def _refuse_secrets(values: list[tuple[str, str, Any]]) -> None:
    """Refuse values with credentials before any message can repeat them.

    Args:
        values: Dotted key of a value ("" for a whole tree), where it was given, and the value.
    """
    found = {
        f"{name} ({origin})" if name else origin: kind
        for key, origin, value in values
        for name, kind in credentials.secrets_in(value, key)
    }
    if found:
        text = "; ".join(f"{where} holds {kind}" for where, kind in found.items())
        raise ConfigError(f"{text}.", credentials.REMEDY)


def _put(values: Any, key: str, value: Any) -> None:
    """Set a dotted key in nested values."""
    *groups, name = key.split(".")
    for group in groups:
        values[group] = values.get(group) or {}
        values = values[group]
        if not isinstance(values, dict):
            return  # the recipe is wrong here, and validation says so
    values[name] = value


def _as_error(job: str, problems: list[str]) -> ConfigError:
    remedy = f"`python -m jobs.{job} --help` lists every flag with its meaning and bounds."
    if len(problems) == 1:
        return ConfigError(f"{problems[0]}.", remedy)
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return ConfigError(f"{len(problems)} problems in the settings:{lines}", remedy)


# -- flags

_BOOLS = {"true": True, "false": False}


def _read_flags(argv: list[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the values that flags give by dotted key, the words of no flag, and problems.

    Accepts ``--a.b_c`` for ``--a.b-c``; for a boolean ``--a.b``, ``--no-a.b``, ``--a.no-b``,
    ``--a.b True`` and ``--a.b=false``; ``--list 1,2`` for ``--list 1 2``.
    """
    flags = {setting.flag: setting for setting in settings_in(Settings)}
    negatives = {
        form: setting
        for setting in flags.values()
        if setting.is_bool
        for form in (_negative(setting.flag), setting.flag.replace("--", "--no-", 1))
    }
    given: dict[str, Any] = {}
    stray: list[str] = []
    problems: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--") or token == "--help":
            stray.append(token)
            continue
        flag, equals, value = token.partition("=")
        flag = flag.replace("_", "-")
        setting = flags.get(flag) or negatives.get(flag)
        values = [value] if equals else _take_values(rest, setting)
        if setting is None:
            problems.append(_unknown_flag(flag, list(flags)))
        elif setting.is_bool:
            truth = _BOOLS.get(values[0].lower()) if values else True
            if values and values[0] in setting.words:
                given[setting.key] = values[0]
            elif truth is None:
                problems.append(f"{setting.flag} is True or False, not {values[0]!r}")
            else:
                given[setting.key] = truth != (flag in negatives)
        elif not values:
            problems.append(f"{flag} needs a value")
        elif setting.is_list:
            if setting.key in given:  # as scripts override, but some commands gather such flags
                print(
                    f"note: {setting.flag} is given twice, and the last one counts: name all values"
                    " after one.",
                    file=sys.stderr,
                )
            given[setting.key] = tuple(part for each in values for part in each.split(",") if part)
        else:
            given[setting.key] = values[0]
    return given, stray, problems


def _negative(flag: str) -> str:
    """Return tyro's negative of a boolean flag: --adjust.fold gives --adjust.no-fold."""
    group, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{group}{dot}no-{name}"


def _take_values(rest: list[str], setting: Setting | None) -> list[str]:
    """Remove and return the values of a flag; an unknown flag takes all words that follow it."""
    most = len(rest) if setting is None or setting.is_list else 1
    values: list[str] = []
    while rest and len(values) < most and not rest[0].startswith("--"):
        if setting is not None and setting.is_bool:
            if rest[0].lower() not in _BOOLS and rest[0] not in setting.words:
                break
        values.append(rest.pop(0))
    return values


def _unknown_flag(flag: str, flags: list[str]) -> str:
    # "--epochs" means the flag of that name in whatever group has it.
    same_name = [known for known in flags if known.rpartition(".")[2] == flag.removeprefix("--")]
    close = same_name or difflib.get_close_matches(flag, flags, n=2, cutoff=0.7)
    hint = f": perhaps you meant {' or '.join(close)}" if close else ""
    return f"unknown flag {flag}{hint}"


# -- help


def _print_help(
    job: str,
    description: str | None,
    values: dict[str, Any],
    first_groups: Sequence[str],
    first_flags: Sequence[str],
) -> NoReturn:
    """Print every flag with the default that the recipe gives it, and exit with 0."""
    import tyro

    if first_flags:
        print(f"{(description or '').strip()}\n\nthe flags that matter most:\n")
        print("\n".join(_in_short(first_flags)))
        print("\nall flags, by group:\n")
        description = ""
    tyro.cli(
        _flag_tree(Settings, values, first_groups),
        prog=f"python -m jobs.{job}",
        description=f"Run jobs.{job}." if description is None else description,
        args=["--help"],
    )
    raise AssertionError("tyro exits after its help")


def _in_short(keys: Sequence[str]) -> list[str]:
    """Return a line or more for each of these settings: its flag, and what it means."""
    settings = {setting.key: setting for setting in settings_in(Settings)}
    lines = []
    for key in keys:
        setting = settings[key]
        flag = setting.flag if setting.is_bool else f"{setting.flag} {setting.value_type}"
        # Up to a semicolon, unless it is in parentheses.
        meaning = re.split(r";(?![^()]*\))", setting.info.description or "")[0].rstrip(".")
        first, *rest = textwrap.wrap(meaning, 56)
        lines += [f"  {flag:<38}  {first}" if len(flag) <= 38 else f"  {flag}\n{'':42}{first}"]
        lines += [f"{'':42}{line}" for line in rest]
    return lines


def _flag_tree(model: type[BaseModel], values: Any, first_groups: Sequence[str] = ()) -> Any:
    """Return a TypedDict that has tyro's description of every flag of a settings model."""
    import tyro

    values = values if isinstance(values, dict) else {}
    keys: dict[str, Any] = {}
    for name, info in sorted(
        model.model_fields.items(),
        key=lambda item: (*first_groups, item[0]).index(item[0]),
    ):
        group = group_of(info)
        if group is not None:
            doc = (group.__doc__ or "").splitlines()[0]
            keys[name] = Annotated[_flag_tree(group, values.get(name)), tyro.conf.arg(help=doc)]
            continue
        setting = Setting(name, info)
        default = values.get(name, setting.default)
        limits = ["none" if default is None else str(default), setting.bounds]
        argument = tyro.conf.arg(
            help=info.description,
            metavar=None if setting.is_bool else setting.value_type,
            help_behavior_hint=f"(default: {'; '.join(filter(None, limits))})",
        )
        kind = bool if setting.is_bool else tuple[str, ...] if setting.is_list else str
        keys[name] = Annotated[kind, argument]
    return TypedDict(model.__name__, keys, total=False)  # type: ignore[operator]
