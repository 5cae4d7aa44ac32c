"""Recipes: YAML files of settings, read with the line of each key, so that an error can name it."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qa_lib.config import versions, yaml_text

RECIPES_FOLDER = Path(__file__).resolve().parents[2] / "jobs" / "recipes"


@dataclass
class Recipe:
    """The content of a recipe file.

    Attributes:
        values: Settings as the file gives them, not validated.
        lines: Line of each dotted key ("train.epochs"), counted from 1.
        origin: How messages name the file.
        problems: What is wrong with the file itself; `values` is empty then.
    """

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    origin: str = ""
    problems: list[str] = field(default_factory=list)


def recipe_names() -> list[str]:
    """Return the names that ``--recipe`` takes, sorted."""
    return sorted(path.stem for path in RECIPES_FOLDER.glob("*.yaml"))


def read(name_or_path: str) -> Recipe:
    """Read a recipe by name (one of `recipe_names`) or by the path of a YAML file."""
    path, problem = _find(name_or_path)
    recipe = Recipe(origin=path.name)
    if problem:
        recipe.problems.append(problem)
        return recipe
    try:
        with path.open(encoding="utf-8") as file:
            root, values = yaml_text.parse(file.read(yaml_text.MAX_CHARACTERS + 1))
        _collect_lines(root, "", recipe)
    except (OSError, UnicodeDecodeError) as error:
        recipe.problems.append(f"recipe {path} cannot be read: {error}")
    except yaml.YAMLError as error:
        recipe.problems.append(f"recipe {path} is not valid YAML: {_one_line(error)}")
    else:
        if problem := versions.problem_of(values):
            recipe.problems.append(f"recipe {path}: {problem}")
        elif values is None or isinstance(values, dict):
            recipe.values = versions.migrate(_text_keys(values or {}))
        else:
            recipe.problems.append(
                f"recipe {path} must hold settings (`train:` and so on), "
                f"not a {type(values).__name__}"
            )
    return recipe


def _find(name_or_path: str) -> tuple[Path, str | None]:
    """Return the recipe's file, and what is wrong if there is none."""
    path = Path(os.path.expanduser(name_or_path))  # Path.expanduser raises without a home
    if path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return path, None if path.is_file() else f"recipe file {path} does not exist"
    names = recipe_names()
    if name_or_path in names:
        return RECIPES_FOLDER / f"{name_or_path}.yaml", None
    problem = f"unknown recipe {name_or_path!r}: the recipes are {', '.join(names)}"
    close = difflib.get_close_matches(name_or_path, names, n=1)
    if close:
        problem += f" (perhaps you meant {close[0]})"
    return path, problem


def _collect_lines(node: yaml.Node | None, prefix: str, recipe: Recipe) -> None:
    """Record the line of every key, and keys given twice, which YAML loaders accept."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        line = key_node.start_mark.line + 1
        if key in recipe.lines:
            recipe.problems.append(
                f"{key} appears twice in {recipe.origin} (lines {recipe.lines[key]} and {line})"
            )
        recipe.lines[key] = line
        _collect_lines(value_node, f"{key}.", recipe)


def _text_keys(values: dict[Any, Any]) -> dict[str, Any]:
    """Return the values with keys as text: YAML reads an unquoted ``1:`` as a number."""
    return {
        str(key): _text_keys(value) if isinstance(value, dict) else value
        for key, value in values.items()
    }


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark else problem
