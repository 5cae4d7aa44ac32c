"""The boundary to YAML of others.

Limits are checked on the stream of events, before anything is built: aliases make a short text
large or endless.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

MAX_CHARACTERS = 100_000
_MAX_DEPTH = 20
_MAX_NODES = 10_000  # with every alias counted as what it stands for


# To YAML 1.1, 1:4 is 64, counted in sixties, and 017 is 15, counted in eights.
_OTHER_NUMBER = re.compile(r":|^[-+]?0[0-9_]")


class _Loader(yaml.SafeLoader):
    """Reads as text what YAML 1.1 makes other numbers of, and dates, which no setting is."""


def _number_or_text(construct: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[..., Any]:
    def read(loader: _Loader, node: yaml.ScalarNode) -> Any:
        return node.value if _OTHER_NUMBER.search(node.value) else construct(loader, node)

    return read


_INT, _FLOAT, _DATE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
_Loader.add_constructor(_INT, _number_or_text(_Loader.construct_yaml_int))
_Loader.add_constructor(_FLOAT, _number_or_text(_Loader.construct_yaml_float))
_Loader.add_constructor(_DATE, lambda _, node: node.value)


def parse(text: str) -> tuple[yaml.Node | None, Any]:
    """Return a YAML document as nodes, which know their lines, and as values.

    Raises:
        YAMLError: It is no YAML, exceeds a limit, or holds a value that its type does not allow.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it has more than {MAX_CHARACTERS:,} characters")
    _check(text)
    try:
        return yaml.compose(text, Loader=_Loader), yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # constructors raise what int, datetime and base64 do
        raise yaml.YAMLError(f"it holds a value that cannot be read: {error}") from None


def _check(text: str) -> None:
    sizes: dict[str, int] = {}  # nodes that each finished anchor stands for
    opened: list[tuple[str | None, int]] = []  # anchor, and nodes before it
    num_nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise _refusal(event, f"*{event.anchor} contains itself")
            num_nodes += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, num_nodes))
            num_nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = num_nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            num_nodes += 1
        if len(opened) > _MAX_DEPTH:
            raise _refusal(event, f"it is nested more than {_MAX_DEPTH} deep")
        if num_nodes > _MAX_NODES:
            raise _refusal(event, f"it holds more than {_MAX_NODES:,} values")


def _refusal(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
