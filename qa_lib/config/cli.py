"""Flags and recipe to validated settings, with every problem reported at once.

tyro makes the flags and their help from the settings tree; it parses no types: values stay text
until pydantic validates the whole tree, so that one wrong value does not hide the next.
"""

from __future__ import annotations

import difflib
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypedDict

import tyro
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from qa_lib.config import recipes
from qa_lib.config.recipes import Recipe
from qa_lib.config.rules import conflicts
from qa_lib.config.schema import FIELDS_ONLY, Settings
from qa_lib.errors import ConfigError

# Groups whose flags a job's help shows first.
_FIRST_GROUPS = {
    "evaluate": ("evaluate",),
    "answer": ("answer",),
    "adjust": ("adjust",),
    "export": ("export",),
    "tune": ("search",),
    "compare": ("compare",),
    "demo": ("demo", "answer"),
}

# Jobs about runs, which their first words may name, and the flag that they stand for.
_OF_RUNS = {
    "verify": "--model.name",
    "report": "--model.name",
    "demo": "--model.name",
    "compare": "--compare.runs",
}


def parse(job: str, argv: Sequence[str] | None = None, description: str | None = None) -> Settings:
    """Return the settings of a job from its command line.

    Args:
        job: Name of the job, for the help text and the messages ("train").
        argv: Flags without the program's name; None takes those of this process.
        description: Text that opens the help.

    Raises:
        ConfigError: With everything that is wrong in flags, recipe and their combination.
        SystemExit: With code 0, after ``--help``.
    """
    argv = sys.argv[1:] if argv is None else argv
    if job in _OF_RUNS and argv and not argv[0].startswith("-"):
        argv = [_OF_RUNS[job], *argv]
    tokens, problems = _normalise(argv)
    name = _last_value("--recipe", tokens) or Settings.model_fields["recipe"].default
    recipe = recipes.read(name)
    problems += recipe.problems
    given, stray = _read_flags(job, tokens, recipe, description)
    problems += [f"{token!r} belongs to no flag" for token in stray]
    origins = {key: f"{recipe.origin} line {line}" for key, line in recipe.lines.items()}
    origins |= {key: f"--{key.replace('_', '-')}" for key in _leaves(given)}
    values = _merge(recipe.values, given) | {"recipe": name}
    settings, found = _validate(values, origins)
    problems += found
    if settings is None or problems:
        raise _as_error(job, problems)
    return settings


def _validate(values: dict[str, Any], origins: dict[str, str]) -> tuple[Settings | None, list[str]]:
    """Return the settings and what is wrong with them: every field, then the rules between."""
    problems: list[str] = []
    wrong: set[str] = set()
    try:
        settings = Settings.model_validate(values, context=FIELDS_ONLY)
    except ValidationError as error:
        by_key: dict[str, list[Any]] = {}
        for details in error.errors(include_url=False):
            by_key.setdefault(_key_of(details["loc"]), []).append(details)
        problems = [_describe(key, details, origins) for key, details in by_key.items()]
        wrong = set(by_key)
        # With the wrong fields out of the way, the rules between the others can be checked too.
        for key in wrong:
            _remove(values, key)
        settings = Settings.model_validate(values, context=FIELDS_ONLY)
    for keys, message in conflicts(settings):
        if not any(key.startswith(bad) for key in keys for bad in wrong):
            problems.append(message)
    return settings, problems


def _as_error(job: str, problems: list[str]) -> ConfigError:
    remedy = f"`python -m jobs.{job} --help` lists every flag with its meaning and bounds."
    if len(problems) == 1:
        return ConfigError(f"{problems[0]}.", remedy)
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return ConfigError(f"{len(problems)} problems in the settings:{lines}", remedy)


# -- flags


def _normalise(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Bring flags into tyro's form, and report those that are unknown or lack a value.

    Accepts ``--a.b_c`` for ``--a.b-c``; for a boolean ``--a.b``, ``--no-a.b``, ``--a.no-b``,
    ``--a.b True`` and ``--a.b=false``; ``--list 1,2`` for ``--list 1 2``.
    """
    flags = {f"--{key.replace('_', '-')}": field for key, field in _fields()}
    tokens: list[str] = []
    problems: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--") or token == "--help":
            tokens.append(token)
            continue
        flag, equals, value = token.partition("=")
        flag, negated = _split_negation(flag.replace("_", "-"), flags)
        values = [value] if equals else _take_values(rest, flags.get(flag))
        if flag not in flags:
            problems.append(_unknown_flag(flag, list(flags)))
        elif _is_bool(flags[flag]):
            text = (values or ["true"])[0].lower()
            if text not in _BOOLS:
                problems.append(f"{flag} is True or False, not {values[0]!r}")
            else:
                tokens.append(_negation(flag) if _BOOLS[text] == negated else flag)
        elif not values:
            problems.append(f"{flag} needs a value")
        elif _is_list(flags[flag]):
            tokens += [flag, *(part for value in values for part in value.split(",") if part)]
        else:
            tokens.append(f"{flag}={values[0]}")
    return tokens, problems


def _take_values(rest: list[str], field: FieldInfo | None) -> list[str]:
    """Remove and return the values of a flag; what follows an unknown one is taken for its own."""
    most = len(rest) if field is None or _is_list(field) else 1
    values: list[str] = []
    while rest and len(values) < most and not rest[0].startswith("--"):
        if field is not None and _is_bool(field) and rest[0].lower() not in _BOOLS:
            break
        values.append(rest.pop(0))
    return values


_BOOLS = {"true": True, "false": False}


def _negation(flag: str) -> str:
    """Return tyro's negative of a boolean flag: --adjust.fold gives --adjust.no-fold."""
    group, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{group}{dot}no-{name}"


def _split_negation(flag: str, flags: dict[str, FieldInfo]) -> tuple[str, bool]:
    """Return the flag that a negative one denies, and whether it was a negative."""
    for known, field in flags.items():
        if _is_bool(field) and flag in (_negation(known), known.replace("--", "--no-", 1)):
            return known, True
    return flag, False


def _unknown_flag(flag: str, flags: list[str]) -> str:
    # "--epochs" means the flag of that name in whatever group has it.
    same_name = [known for known in flags if known.rpartition(".")[2] == flag.removeprefix("--")]
    close = same_name or difflib.get_close_matches(flag, flags, n=2, cutoff=0.7)
    hint = f": perhaps you meant {' or '.join(close)}" if close else ""
    return f"unknown flag {flag}{hint}"


def _last_value(flag: str, tokens: list[str]) -> str | None:
    values = [token.partition("=")[2] for token in tokens if token.startswith(f"{flag}=")]
    return values[-1] if values else None


def _read_flags(
    job: str, tokens: list[str], recipe: Recipe, description: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that the flags give, as a nested dict of text, and what is left over."""
    first = ("data", "model", "train") if job == "train" else _FIRST_GROUPS.get(job, ())
    tree = _flag_tree(Settings, recipe.values, first)
    given, stray = tyro.cli(
        tree,
        prog=f"python -m jobs.{job}",
        description=description or f"Run jobs.{job}.",
        args=tokens,
        return_unknown_args=True,
    )
    return {key: value for key, value in given.items() if value != {}}, stray


def _flag_tree(model: type[BaseModel], values: Any, first: Sequence[str] = ()) -> Any:
    """Return a TypedDict of a settings model's flags; a flag that is not given leaves no key."""
    values = values if isinstance(values, dict) else {}
    keys: dict[str, Any] = {}
    for name, field in sorted(
        model.model_fields.items(),
        key=lambda item: first.index(item[0]) if item[0] in first else len(first),
    ):
        group = _group_of(field)
        if group is not None:
            doc = (group.__doc__ or "").splitlines()[0]
            keys[name] = Annotated[_flag_tree(group, values.get(name)), tyro.conf.arg(help=doc)]
            continue
        default = values.get(name, field.get_default(call_default_factory=True))
        bounds = _bounds(field)
        hint = f"(default: {'none' if default is None else default}{bounds and '; '}{bounds})"
        argument = tyro.conf.arg(
            help=field.description,
            metavar=_metavar(field),
            help_behavior_hint=hint,
        )
        kind = bool if _is_bool(field) else tuple[str, ...] if _is_list(field) else str
        keys[name] = Annotated[kind, argument]
    return TypedDict(model.__name__, keys, total=False)  # type: ignore[operator]


# -- the tree


def _group_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted key, field) of every leaf of the settings tree."""
    for name, field in model.model_fields.items():
        group = _group_of(field)
        if group is None:
            yield f"{prefix}{name}", field
        else:
            yield from _fields(group, f"{prefix}{name}.")


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _kinds(annotation: Any) -> list[Any]:
    """Return the plain types and literal values that an annotation admits."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in _kinds(part)]
    if origin is Literal:
        return list(typing.get_args(annotation))
    return [annotation]


def _is_bool(field: FieldInfo) -> bool:
    return field.annotation is bool


def _is_list(field: FieldInfo) -> bool:
    return any(typing.get_origin(kind) is tuple for kind in _kinds(field.annotation))


def _metavar(field: FieldInfo) -> str | None:
    """Return what stands for the value in the help, such as INT or {fp32,bf16}."""
    if _is_bool(field):
        return None
    kinds = [kind for kind in _kinds(field.annotation) if kind is not type(None)]
    literals = [str(kind) for kind in kinds if not isinstance(kind, type)]
    names = {str: "TEXT", int: "INT", float: "FLOAT"}
    plain = [names[kind] for kind in kinds if kind in names]
    if _is_list(field):
        items = [typing.get_args(kind)[0] for kind in kinds if typing.get_args(kind)]
        inner = [kind for item in items for kind in _kinds(item)]
        return f"{'|'.join(names[kind] if kind in names else str(kind) for kind in inner)} ..."
    return "|".join([*literals, *plain])


def _bounds(field: FieldInfo) -> str:
    """Return the bounds of a number as words, such as "at least 0, less than 1"."""
    limits = [*field.metadata]
    for part in typing.get_args(field.annotation):
        limits += [limit for info in typing.get_args(part)[1:] for limit in _limits_of(info)]
    words = [
        f"{word} {_number(getattr(limit, name))}"
        for name, word in _BOUND_WORDS.items()
        for limit in limits
        if hasattr(limit, name)
    ]
    return ", ".join(words)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _limits_of(info: Any) -> list[Any]:
    return info.metadata if isinstance(info, FieldInfo) else [info]


_BOUND_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Return `low` overridden by `high`, group by group."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key) or {}
        if not isinstance(value, dict):
            merged[key] = value
        elif isinstance(below, dict):  # else the recipe is wrong here, and validation says so
            merged[key] = _merge(below, value)
    return merged


def _remove(values: dict[str, Any], key: str) -> None:
    *groups, name = key.split(".")
    for group in groups:
        values = values[group]
    values.pop(name)


# -- messages


def _key_of(loc: tuple[int | str, ...]) -> str:
    """Return the dotted key that a pydantic location is in, without union members and indices."""
    model: type[BaseModel] | None = Settings
    depth = 0
    while model is not None and depth < len(loc):
        field = model.model_fields.get(str(loc[depth]))
        model = _group_of(field) if field else None
        depth += 1
    return ".".join(str(part) for part in loc[:depth])


def _describe(key: str, details: list[Any], origins: dict[str, str]) -> str:
    """Return one line for one wrong setting; `details` are pydantic's, one per union member."""
    where = f" ({origins[key]})" if key in origins else ""
    if details[0]["type"] == "extra_forbidden":
        known = [known for known, _ in _fields()]
        if "." not in key:
            known = list(Settings.model_fields)
        same_name = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
        close = same_name or difflib.get_close_matches(key, known, n=1)
        hint = f": perhaps you meant {close[0]}" if close else ""
        return f"unknown setting {key}{where}{hint}"
    if details[0]["type"] in ("model_type", "model_attributes_type"):
        return f"{key}{where} is a group and must hold settings, such as `{key}: {{...}}`"
    # A list whose members are wrong counts as empty too.
    told = [item for item in details if item["type"] != "too_short"] or details
    musts = " or ".join(dict.fromkeys(_must(item) for item in told))
    if type(None) in typing.get_args(dict(_fields())[key].annotation):
        musts += " or none"
    return f"{key} is {details[0]['input']!r}{where} but must be {musts}"


def _must(item: Any) -> str:
    """Return pydantic's requirement as the end of "must be ..."."""
    kind, context = item["type"], item.get("ctx", {})
    if kind.startswith("int_"):
        return "a whole number"
    if kind.startswith("float_"):
        return "a number"
    if kind.startswith("bool_"):
        return "True or False"
    if kind == "too_short":
        return "at least one value"
    if kind == "missing":
        return "two values"
    if kind == "literal_error":
        return f"{context['expected']}"
    if kind == "string_pattern_mismatch":
        if "cpu" in context["pattern"]:
            return "of the form 0=10GiB or cpu=30GiB"
        return "a name of letters, digits, dots, dashes and underscores"
    for name, word in _BOUND_WORDS.items():
        if name in context:
            return f"{word} {_number(context[name])}"
    return str(item["msg"]).removeprefix("Input should be ").removeprefix("Input should ")
