"""Groups of tensor dimensions that must be cut together, and the layers that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Role = Literal["writes", "reads", "normalises"]


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
    """Units that all of these tensors must keep or lose together.

    Attributes:
        name: `hidden`, or `LAYER.query_key`, `LAYER.value`, `LAYER.intermediate`; `head` for the
            units between encoder and classifier, in families that have them; `heads` where one
            tensor holds something for the heads of all layers; `vocabulary` for the tokens.
        width: Number of units.
        axes: The dimensions that index them.
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
class Groups:
    """The groups of a model.

    Attributes:
        layer_prefix: What a layer's tensors start with, before the layer's index.
        num_layers: Layers that a token passes; as many are stored unless they share their tensors.
        num_heads: Attention heads of each layer.
        hidden: The units of the residual stream, model-wide.
        others: Other model-wide groups: `head` and `heads`, in models that have them; `vocabulary`.
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

    def __iter__(self) -> Iterator[Group]:
        """Iterate over all groups: `hidden` first, then layer by layer, then the others."""
        yield self.hidden
        for layer in self.layers:
            yield from layer
        yield from self.others

    @property
    def ties_heads(self) -> bool:
        """Whether the same heads must be kept in every layer."""
        return any(group.name == "heads" for group in self.others)

    @cached_property
    def axes(self) -> dict[str, list[tuple[Group, Axis]]]:
        """The groups and axes that each tensor takes part in, by the tensor's name."""
        by_tensor: dict[str, list[tuple[Group, Axis]]] = {name: [] for name in self.shapes}
        for group in self:
            for axis in group.axes:
                by_tensor[axis.tensor].append((group, axis))
        return by_tensor

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
