"""The coupling of tensor dimensions: which of them must be cut together.

The architecture is built on the meta device with one configuration value changed at a time; the
dimensions that change with it form a group.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from qa_lib.adjust.architecture import (
    Shapes,
    architecture,
    changed,
    resized,
    shapes_of,
    split,
    with_layers,
)
from qa_lib.adjust.families import Family, family_of
from qa_lib.adjust.groups import Axis, Group, Groups, LayerGroups
from qa_lib.errors import AdjustError
from qa_lib.models.ragged import blocks_of

Places = dict[tuple[str, int], int]  # units in each (tensor, dimension), in multiples of a step

_REDECLARE = "Correct the declaration of the family (docs/guide/adjust.md)."
_REPORT = "Adjust another checkpoint, and report this one: its family needs a declaration."


def groups_of(config: Any) -> Groups:
    """Return the groups of a configuration's architecture.

    Raises:
        AdjustError: The family is not supported, the model is ragged, or the effect of a
            configuration value is ambiguous.
    """
    if blocks_of(config) is not None:
        raise AdjustError(
            "The model is ragged already: its layers have different widths.",
            "Adjust the model that it was cut from, by all that is to go at once.",
        )
    return _groups_of(family_of(config), type(config), config.to_json_string(use_diff=False))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _groups_of(family: Family, config_class: Any, text: str) -> Groups:
    config = config_class.from_dict(json.loads(text))
    for key in (family.intermediate_key, family.layers_key):
        if not hasattr(config, key):
            raise AdjustError(
                f"The family {config.model_type} is declared with {key}, which its configuration"
                " does not have.",
                _REDECLARE,
            )
    shapes, roles = architecture(config)
    prefix = _layer_prefix(config, family, shapes)
    growth = _growth(config, family, shapes)
    layers, queries = zip(
        *(
            _layer(config, family, prefix, index, growth, roles, shapes)
            for index in range(getattr(config, family.layers_key))
        ),
        strict=True,
    )
    hidden_size = config.hidden_size
    in_head = [(name, int(name == family.head[-1])) for name in family.head]
    head = _take(growth["hidden"], *in_head)
    _check_names(config, "", head, in_head, shapes)
    others = (
        _group("head", hidden_size, head, roles),
        _group("heads", config.num_attention_heads, growth["heads"], roles),
        _group("vocabulary", config.vocab_size, growth["vocabulary"], roles),
    )
    return Groups(
        layer_prefix=prefix,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        hidden=_group("hidden", hidden_size, growth["hidden"], roles),
        others=tuple(group for group in others if group.axes),
        layers=layers,
        queries=queries,
        shapes=shapes,
    )


def _growth(config: Any, family: Family, shapes: Shapes) -> dict[str, Places]:
    """Return the places that grow with hidden size, feed-forward width, heads, vocabulary."""
    num_heads, hidden_size = config.num_attention_heads, config.hidden_size
    head_size, inner = hidden_size // num_heads, family.intermediate_key
    inner_size, vocab_size = getattr(config, inner), config.vocab_size
    grown = partial(_grown, config, shapes)
    hidden = grown(lambda n: resized(config, hidden_size + n * num_heads, num_heads), num_heads)
    heads = grown(lambda n: resized(config, hidden_size + n * head_size, num_heads + n))
    return {
        "hidden": hidden,
        "intermediate": grown(lambda n: changed(config, **{inner: inner_size + n})),
        "heads": {place: 1 for place in heads if place not in hidden},
        "vocabulary": grown(lambda n: changed(config, vocab_size=vocab_size + n)),
    }


def _layer(
    config: Any,
    family: Family,
    prefix: str,
    index: int,
    growth: dict[str, Places],
    roles: Any,
    shapes: Shapes,
) -> tuple[LayerGroups, tuple[str, ...]]:
    """Take a layer's groups out of `growth`; return them, and the maps that write queries."""
    at, hidden_size = f"{prefix}{index}.", config.hidden_size
    query_key = [at + name for name in (*family.queries, *family.keys)]
    writers = [*query_key, at + family.value]
    fused = len(set(writers)) == 1
    blocks = [(name, block) for block, name in enumerate(writers)] if fused else []
    own = {place: n for place, n in growth["intermediate"].items() if place[0].startswith(at)}
    # The rows of an attention grow with the hidden size: hidden = heads x head size.
    rows = _take(growth["hidden"], *((name, 0) for name in query_key), keep=fused)
    values = _take(growth["hidden"], (at + family.value, 0), (at + family.output, 1))
    named = [(family.queries[0], 0), (family.keys[0], 0), (family.value, 0), (family.output, 1)]
    _check_names(config, at, rows | values, named, shapes)
    groups = LayerGroups(
        _group(f"{index}.query_key", hidden_size, rows, roles, *blocks[:-1]),
        _group(f"{index}.value", hidden_size, values, roles, *blocks[-1:]),
        _group(f"{index}.intermediate", getattr(config, family.intermediate_key), own, roles),
    )
    present = {split(name)[0] for name, _ in rows}
    return groups, tuple(at + name for name in family.queries if at + name in present)


def _check_names(
    config: Any, at: str, places: Places, named: list[tuple[str, int]], shapes: Shapes
) -> None:
    """Refuse a declaration whose maps are not there, or do not write or read what they should.

    Args:
        config: Of the family.
        at: What the maps' names are relative to.
        places: What was found.
        named: Maps, and the dimension in which each must have units of the heads.
        shapes: Of all tensors.
    """
    found = {(split(tensor)[0], dim) for tensor, dim in places}
    wrong = [name for name, dim in named if (at + name, dim) not in found]
    if wrong:
        tensors = [name for name, shape in shapes.items() if name.startswith(at) and len(shape) > 1]
        raise AdjustError(
            f"The family {config.model_type} is declared with {', '.join(wrong)}, which its models"
            " do not have, or not in that place. They have"
            f" {', '.join(split(name)[0].removeprefix(at) for name in tensors)}.",
            _REDECLARE,
        )


def _take(places: Places, *inside: tuple[str, int], keep: bool = False) -> Places:
    """Take the places of these modules (dimension 0: rows, 1: columns) out of `places`."""
    wanted = [place for place in places if (split(place[0])[0], place[1]) in inside]
    return {place: places[place] if keep else places.pop(place) for place in wanted}


def _group(name: str, size: int, places: Places, roles: Any, *blocks: tuple[str, int]) -> Group:
    """Make a group of places; `blocks` are those of a module that writes several groups."""

    def of(module: str, dim: int, number: int) -> tuple[int, ...]:
        own = tuple(block for writer, block in blocks if writer == module)
        return own if own and dim == 0 else tuple(range(number))

    axes = tuple(
        Axis(*split(tensor), dim, roles(tensor, dim), of(split(tensor)[0], dim, number))
        for (tensor, dim), number in places.items()
    )
    return Group(name, size, axes)


def _layer_prefix(config: Any, family: Family, shapes: Shapes) -> str:
    """Return the start of the layers' tensor names, from a model with one layer more."""
    index = getattr(config, family.layers_key)
    last = config.num_hidden_layers - 1
    larger = (
        changed(config, **{family.layers_key: index + 1})
        if family.shares_layers
        else with_layers(config, [*range(index), last])
    )
    more = shapes_of(larger).keys() - shapes.keys()
    prefixes = {re.sub(rf"(?<=\.){index}\..*", "", name) for name in more}
    if len(prefixes) != 1:
        raise AdjustError(
            f"The layers of this {config.model_type} model cannot be distinguished:"
            f" {_some(prefixes)}.",
            _REPORT,
        )
    return prefixes.pop()


def _grown(config: Any, shapes: Shapes, grow: Callable[[int], Any], step: int = 1) -> Places:
    """Return the (tensor, dimension) pairs that grow, and by how many units per unit of the value.

    Args:
        config: The configuration that `shapes` belong to.
        shapes: Shapes before the growth.
        grow: Makes a configuration that is larger by n steps.
        step: Units in a step.
    """
    # A value that happens to equal another one can change the architecture: then grow further.
    for n in (1, 2):
        grown = shapes_of(grow(n))
        if grown.keys() == shapes.keys():
            return {
                (name, dim): (after - before) // (n * step)
                for name in shapes
                for dim, (before, after) in enumerate(zip(shapes[name], grown[name], strict=True))
                if after != before
            }
    raise AdjustError(
        f"Growing this {config.model_type} model adds or removes tensors:"
        f" {_some(grown.keys() ^ shapes.keys())}.",
        _REPORT,
    )


def _some(names: Iterable[str]) -> str:
    """List three names, and count the rest."""
    first, rest = sorted(names)[:3], sorted(names)[3:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")
