"""The boundary to YAML of others.

Limits are checked on the stream of events, before anything is built: aliases make a short text
large or endless.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARACTERS = 100_000
_MAX_DEPTH = 20
_MAX_NODES = 10_000  # with every alias counted as what it stands for


class _Loader(yaml.SafeLoader):
    """Reads 1:4 as text. YAML 1.1 counts in sixties there, and makes 64 of it."""

    def construct_whole(self, node: yaml.ScalarNode) -> int | str:
        """Return the number that a node holds, or its text."""
        return node.value if ":" in node.value else self.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)


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
