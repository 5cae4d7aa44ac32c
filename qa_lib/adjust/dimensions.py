"""Which dimension of which tensor is which, found by labels.

The architecture is built on the meta device with one configuration value changed at a time; the
dimensions that change with it carry its name. `qa_lib.adjust.tracing` finds the same another way.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from qa_lib.adjust.families import Family, family_of
from qa_lib.errors import AdjustError

Role = Literal["writes", "reads", "normalises"]
Shapes = dict[str, tuple[int, ...]]
Places = dict[tuple[str, int], int]

REPORT = "Adjust another checkpoint, and report this one: its family needs a declaration."


@dataclass(frozen=True)
class Axis:
    """One dimension of one tensor.

    Attributes:
        module: Name of the module that owns the tensor.
        parameter: The tensor's name in it: `weight` or `bias`.
        dim: The tensor's dimension.
        role: Whether the module writes the units, reads them, or normalises over them.
        blocks: Where the units stand in it, in multiples of their number: (0, 1) where a gated map
            writes them twice, (2,) for the values in a fused map of queries, keys and values.
    """

    module: str
    parameter: str
    dim: int
    role: Role
    blocks: tuple[int, ...] = (0,)

    @property
    def tensor(self) -> str:
        """The tensor's name in the state dict."""
        return f"{self.module}.{self.parameter}"


@dataclass(frozen=True)
class Group:
    """Units that every one of these tensors must keep or lose together.

    Attributes:
        name: `hidden`, or `LAYER.query_key`, `LAYER.value`, `LAYER.intermediate`; `head` for the
            units between the encoder and the classifier, where a family has such; `heads` where
            one tensor holds something for the heads of all layers; `vocabulary` for the tokens.
        width: Number of units.
        axes: The dimensions that they make up.
    """

    name: str
    width: int
    axes: tuple[Axis, ...]

    def modules(self, role: Role) -> list[str]:
        """Names of the modules that have this role, in the order of the state dict."""
        return list(dict.fromkeys(axis.module for axis in self.axes if axis.role == role))


@dataclass(frozen=True)
class LayerGroups:
    """The groups inside one layer.

    Queries and keys meet only in their dot product, values only in the output map, so that within a
    head the units of each pair can go independently of the other pair's; heads go together.
    """

    query_key: Group
    value: Group
    intermediate: Group

    def __iter__(self) -> Iterator[Group]:
        """Iterate over the three groups."""
        return iter((self.query_key, self.value, self.intermediate))


@dataclass(frozen=True)
class Dimensions:
    """The groups of a model.

    Attributes:
        layer_prefix: What a layer's tensors start with, before the layer's index.
        num_layers: Layers that a token passes; as many are stored unless they share their tensors.
        num_heads: Attention heads of each layer.
        hidden: The units of the residual stream, model-wide.
        others: Other model-wide groups: `head` and `heads`, where there are such; `vocabulary`.
        layers: The groups inside each stored layer.
        queries: By stored layer, names of the modules that write queries, the tokens' first.
        shapes: Shape of every tensor of the state dict.
    """

    layer_prefix: str
    num_layers: int
    num_heads: int
    hidden: Group
    others: tuple[Group, ...]
    layers: tuple[LayerGroups, ...]
    queries: tuple[tuple[str, ...], ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def groups(self) -> list[Group]:
        """All groups: `hidden` first, then layer by layer, then the others."""
        return [self.hidden, *(group for layer in self.layers for group in layer), *self.others]

    @property
    def ties_heads(self) -> bool:
        """Whether the same heads must be kept in every layer."""
        return any(group.name == "heads" for group in self.others)

    @cached_property
    def axes(self) -> dict[str, list[tuple[Group, Axis]]]:
        """The groups and axes that each tensor takes part in, by the tensor's name."""
        found: dict[str, list[tuple[Group, Axis]]] = {name: [] for name in self.shapes}
        for group in self.groups:
            for axis in group.axes:
                found[axis.tensor].append((group, axis))
        return found

    def rename(self, name: str, layers: Mapping[int, int]) -> str | None:
        """Give a module or tensor the layer index that `layers` maps its own to.

        Returns:
            The new name; the same name outside of the layers; None where its layer is not mapped.
        """
        index = self.layer_of(name)
        if index is None:
            return name
        if index not in layers:
            return None
        rest = name[len(f"{self.layer_prefix}{index}") :]
        return f"{self.layer_prefix}{layers[index]}{rest}"

    def stored(self, layers: Sequence[int]) -> dict[int, int]:
        """Return where the tensors of a model that keeps these layers come from.

        Returns:
            The index of the stored layer here, by its index there.
        """
        if len(self.layers) < self.num_layers:
            return dict(enumerate(range(len(self.layers))))
        return dict(enumerate(layers))

    def layer_of(self, name: str) -> int | None:
        """Return the index of the stored layer that a module or tensor lies in, or None."""
        if not name.startswith(self.layer_prefix):
            return None
        return int(name[len(self.layer_prefix) :].split(".")[0])


def label(config: Any) -> Dimensions:
    """Find the groups of a configuration's architecture by labels alone.

    Raises:
        AdjustError: Its family is not declared, or a value's effect cannot be told apart.
    """
    return _label(family_of(config), type(config), config.to_json_string(use_diff=False))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _label(family: Family, config_class: Any, text: str) -> Dimensions:
    config = config_class.from_dict(json.loads(text))
    shapes, roles = _architecture(config)
    prefix = _layer_prefix(config, family, shapes)
    num_heads, hidden_size = config.num_attention_heads, config.hidden_size
    head_size = hidden_size // num_heads
    hidden = _grown(
        config,
        shapes,
        lambda n: resized(config, hidden_size + n * num_heads, num_heads),
        step=num_heads,
    )
    intermediate_size = width(config, family.intermediate_key)
    intermediate = _grown(
        config,
        shapes,
        lambda n: changed(config, **{family.intermediate_key: intermediate_size + n}),
    )
    heads = _grown(
        config, shapes, lambda n: resized(config, hidden_size + n * head_size, num_heads + n)
    )
    vocabulary = _grown(config, shapes, lambda n: changed(config, vocab_size=config.vocab_size + n))
    heads = {place: 1 for place in heads if place not in hidden}

    def group(name: str, size: int, places: Places, *blocks: tuple[str, int]) -> Group:
        """Make a group of places; `blocks` lists the blocks of modules that write several kinds."""

        def of(module: str, dim: int, number: int) -> tuple[int, ...]:
            own = tuple(block for writer, block in blocks if writer == module)
            return own if own and dim == 0 else tuple(range(number))

        axes = tuple(
            Axis(*split(name), dim, roles(name, dim), of(split(name)[0], dim, number))
            for (name, dim), number in places.items()
        )
        return Group(name, size, axes)

    def select(*inside: tuple[str, int], keep: bool = False) -> Places:
        """Take the places of these modules (dimension 0: rows, 1: columns) out of `hidden`."""
        wanted = [place for place in hidden if (split(place[0])[0], place[1]) in inside]
        return {place: hidden[place] if keep else hidden.pop(place) for place in wanted}

    layers, queries = [], []
    for index in range(width(config, family.layers_key)):
        at = f"{prefix}{index}."
        query_key = [at + name for name in (*family.queries, *family.keys)]
        writers = [*query_key, at + family.value]
        fused = len(set(writers)) == 1
        blocks = [(name, block) for block, name in enumerate(writers)] if fused else []
        own = {place: n for place, n in intermediate.items() if place[0].startswith(at)}
        # A head's units read "hidden" in these families: hidden = heads x head size.
        rows = select(*((name, 0) for name in query_key), keep=fused)
        values = select((at + family.value, 0), (at + family.output, 1))
        layers.append(
            LayerGroups(
                group(f"{index}.query_key", hidden_size, rows, *blocks[:-1]),
                group(f"{index}.value", hidden_size, values, *blocks[-1:]),
                group(f"{index}.intermediate", intermediate_size, own),
            )
        )
        found = {split(name)[0] for name, _ in rows}
        queries.append(tuple(at + name for name in family.queries if at + name in found))
    head = select(*((name, int(name == family.head[-1])) for name in family.head))
    others = (
        group("head", hidden_size, head),
        group("heads", num_heads, heads),
        group("vocabulary", config.vocab_size, vocabulary),
    )
    return Dimensions(
        layer_prefix=prefix,
        num_layers=config.num_hidden_layers,
        num_heads=num_heads,
        hidden=group("hidden", hidden_size, hidden),
        others=tuple(group for group in others if group.axes),
        layers=tuple(layers),
        queries=tuple(queries),
        shapes=shapes,
    )


def width(config: Any, key: str) -> int:
    """Return an integer of a configuration."""
    return int(getattr(config, key))


def tied_keys(config: Any, family: Family) -> tuple[str, ...]:
    """Return the configuration keys that must follow the hidden size in this configuration."""
    hidden_size = config.hidden_size
    return tuple(key for key in family.tied_to_hidden if getattr(config, key, None) == hidden_size)


def resized(config: Any, hidden_size: int, num_heads: int) -> Any:
    """Return a copy of a configuration with another hidden size, heads, and what follows them."""
    family = family_of(config)
    values = dict.fromkeys(tied_keys(config, family), hidden_size)
    if hasattr(config, family.head_size_key or "-"):
        values[family.head_size_key] = hidden_size // num_heads
    return changed(config, hidden_size=hidden_size, num_attention_heads=num_heads, **values)


def with_layers(config: Any, layers: Sequence[int]) -> Any:
    """Return a copy of a configuration with these of its layers, in this order."""
    family = family_of(config)
    lists = {key: [getattr(config, key)[index] for index in layers] for key in family.per_layer}
    return changed(config, num_hidden_layers=len(layers), **lists)


def with_vocabulary(config: Any, size: int) -> Any:
    """Return a copy of a configuration with so many tokens, the padding's among them."""
    pad = config.pad_token_id
    return changed(config, vocab_size=size, pad_token_id=pad if pad is None else min(pad, size - 1))


def shapes_of(config: Any) -> Shapes:
    """Return the shape of every tensor of the model that a configuration describes."""
    return _shapes(type(config), config.to_json_string(use_diff=False))  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _shapes(config_class: Any, text: str) -> Shapes:
    return _architecture(config_class.from_dict(json.loads(text)))[0]


def changed(config: Any, **values: Any) -> Any:
    """Return a copy of a configuration with other values."""
    config = copy.deepcopy(config)
    for key, value in values.items():
        setattr(config, key, value)
    return config


def _architecture(config: Any) -> tuple[Shapes, Any]:
    """Build a model on the meta device; return its shapes, and the role of each dimension."""
    import torch
    from transformers import AutoModelForQuestionAnswering

    with torch.device("meta"):
        model = AutoModelForQuestionAnswering.from_config(config)
    modules = dict(model.named_modules())

    def role(tensor: str, dim: int) -> Role:
        module = modules[split(tensor)[0]]
        if isinstance(module, torch.nn.LayerNorm):
            return "normalises"
        return "reads" if isinstance(module, torch.nn.Linear) and dim == 1 else "writes"

    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, role


def split(tensor: str) -> tuple[str, str]:
    """Split a tensor's name into its module's and its own."""
    module, _, parameter = tensor.rpartition(".")
    return module, parameter


def _layer_prefix(config: Any, family: Family, shapes: Shapes) -> str:
    """Find what the layers' tensors start with: a model with one layer more has them once more."""
    index = width(config, family.layers_key)
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
            f"The layers of this {config.model_type} model are not told apart: {some(prefixes)}.",
            REPORT,
        )
    return prefixes.pop()


def _grown(config: Any, shapes: Shapes, grow: Callable[[int], Any], step: int = 1) -> Places:
    """Return the (tensor, dimension) pairs that grow, and by how many units each.

    Args:
        config: Of the shapes.
        shapes: To compare with.
        grow: Makes a configuration that is larger by n steps.
        step: Units in a step.
    """
    # A value that happens to meet another one can change the architecture: then take a bigger step.
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
        f" {some(grown.keys() ^ shapes.keys())}.",
        REPORT,
    )


def some(names: Any, limit: int = 3) -> str:
    """List a few names, and count the rest."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + rest
