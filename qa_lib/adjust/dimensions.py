"""Which dimension of which tensor is which, found from the model in two ways that must agree.

Labels: the architecture is built on the meta device with one configuration value changed at a time;
the dimensions that change with it carry its name. Trace: torch-pruning follows the autograd graph
of the model itself from one linear map to everything that must shrink with it. A model on which the
two disagree is refused, because one of them would cut a tensor that the other leaves whole.
"""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from qa_lib.adjust.families import Family, family_of
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Role = Literal["writes", "reads", "normalises"]
Shapes = dict[str, tuple[int, ...]]

_REPORT = "Adjust another checkpoint, and report this one: its family needs a declaration."


@dataclass(frozen=True)
class Axis:
    """One dimension of one tensor.

    Attributes:
        module: Name of the module that owns the tensor.
        parameter: The tensor's name in it: `weight` or `bias`.
        dim: The tensor's dimension.
        role: Whether the module writes the units, reads them, or normalises over them.
        repeat: How often the units follow one another in it (3 for a fused query, key and value).
    """

    module: str
    parameter: str
    dim: int
    role: Role
    repeat: int = 1

    @property
    def tensor(self) -> str:
        """The tensor's name in the state dict."""
        return f"{self.module}.{self.parameter}"


@dataclass(frozen=True)
class Group:
    """Units that every one of these tensors must keep or lose together.

    Attributes:
        name: `hidden`, or `LAYER.query_key`, `LAYER.value`, `LAYER.intermediate`.
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
        num_heads: Attention heads of each layer.
        hidden: The units of the residual stream, model-wide.
        layers: The groups inside each layer.
        queries: Names of the modules that write the queries, by layer.
        shapes: Shape of every tensor of the state dict.
    """

    layer_prefix: str
    num_heads: int
    hidden: Group
    layers: tuple[LayerGroups, ...]
    queries: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def groups(self) -> list[Group]:
        """All groups: `hidden` first, then layer by layer."""
        return [self.hidden, *(group for layer in self.layers for group in layer)]

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

    def layer_of(self, name: str) -> int | None:
        """Return the index of the layer that a module or tensor lies in, or None."""
        if not name.startswith(self.layer_prefix):
            return None
        return int(name[len(self.layer_prefix) :].split(".")[0])


def trace(model: PreTrainedModel) -> Dimensions:
    """Find a model's groups by labels and by trace.

    Args:
        model: A question-answering model on the CPU.

    Raises:
        AdjustError: Its family is not declared, or labels and trace disagree.
    """
    dimensions = label(model.config)
    missing = set(model.state_dict()) ^ set(dimensions.shapes)
    if missing:
        raise AdjustError(
            f"The model holds other tensors than its configuration says: {_some(missing)}.", _REPORT
        )
    _check_trace(model, dimensions)
    return dimensions


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
    prefix = _layer_prefix(config, shapes)
    heads = config.num_attention_heads
    hidden_keys = ("hidden_size", *tied_keys(config, family))
    hidden = _grown(config, shapes, hidden_keys, step=heads)
    intermediate = _grown(config, shapes, (family.intermediate_key,), step=1)

    def axes(places: dict[tuple[str, int], int]) -> tuple[Axis, ...]:
        return tuple(
            Axis(*_split(name), dim, roles(name, dim), repeat)
            for (name, dim), repeat in places.items()
        )

    def select(places: dict[tuple[str, int], int], *inside: tuple[str, int]) -> tuple[Axis, ...]:
        """Take the places of these modules (dimension 0: rows, 1: columns) out of `places`."""
        wanted = [place for place in places if (_split(place[0])[0], place[1]) in inside]
        return axes({place: places.pop(place) for place in wanted})

    layers = []
    for index in range(config.num_hidden_layers):
        at = f"{prefix}{index}."
        own = {place: n for place, n in intermediate.items() if place[0].startswith(at)}
        # A head's units read "hidden" in these families: hidden = heads x head size.
        query_key = select(hidden, (at + family.query, 0), (at + family.key, 0))
        value = select(hidden, (at + family.value, 0), (at + family.output, 1))
        layers.append(
            LayerGroups(
                Group(f"{index}.query_key", config.hidden_size, query_key),
                Group(f"{index}.value", config.hidden_size, value),
                Group(f"{index}.intermediate", width(config, family.intermediate_key), axes(own)),
            )
        )
    return Dimensions(
        layer_prefix=prefix,
        num_heads=heads,
        hidden=Group("hidden", config.hidden_size, axes(hidden)),
        layers=tuple(layers),
        queries=tuple(f"{prefix}{i}.{family.query}" for i in range(len(layers))),
        shapes=shapes,
    )


def width(config: Any, key: str) -> int:
    """Return an integer of a configuration."""
    return int(getattr(config, key))


def tied_keys(config: Any, family: Family) -> tuple[str, ...]:
    """Return the configuration keys that must follow the hidden size in this configuration."""
    return tuple(key for key in family.tied_to_hidden if width(config, key) == config.hidden_size)


def shapes_of(config: Any) -> Shapes:
    """Return the shape of every tensor of the model that a configuration describes."""
    return _architecture(config)[0]


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
        module = modules[_split(tensor)[0]]
        if isinstance(module, torch.nn.LayerNorm):
            return "normalises"
        return "reads" if isinstance(module, torch.nn.Linear) and dim == 1 else "writes"

    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, role


def _split(tensor: str) -> tuple[str, str]:
    """Split a tensor's name into its module's and its own."""
    module, _, parameter = tensor.rpartition(".")
    return module, parameter


def _layer_prefix(config: Any, shapes: Shapes) -> str:
    """Find what the layers' tensors start with: a model with one layer more has them once more."""
    index = config.num_hidden_layers
    more = shapes_of(changed(config, num_hidden_layers=index + 1)).keys() - shapes.keys()
    prefixes = {re.sub(rf"(?<=\.){index}\..*", "", name) for name in more}
    if len(prefixes) != 1:
        raise AdjustError(
            f"The layers of this {config.model_type} model are not told apart: {_some(prefixes)}.",
            _REPORT,
        )
    return prefixes.pop()


def _grown(
    config: Any, shapes: Shapes, keys: tuple[str, ...], step: int
) -> dict[tuple[str, int], int]:
    """Return the (tensor, dimension) pairs that grow with these keys, and how often by `step`."""
    # A value that happens to meet another one can change the architecture: then take a bigger step.
    for growth in (step, 2 * step):
        values = {key: width(config, key) + growth for key in keys}
        grown = shapes_of(changed(config, **values))
        if grown.keys() == shapes.keys():
            return {
                (name, dim): (after - before) // growth
                for name in shapes
                for dim, (before, after) in enumerate(zip(shapes[name], grown[name], strict=True))
                if after != before
            }
    raise AdjustError(
        f"Changing {' and '.join(keys)} adds or removes tensors of this {config.model_type} model:"
        f" {_some(grown.keys() ^ shapes.keys())}.",
        _REPORT,
    )


def _check_trace(model: PreTrainedModel, dimensions: Dimensions) -> None:
    """Refuse a model on which the trace finds other groups than the labels."""
    graph, prune = _dependency_graph(model)
    modules = dict(model.named_modules())
    names = {module: name for name, module in modules.items()}
    for layer, query in zip(dimensions.layers, dimensions.queries, strict=True):
        # Any map that writes a group will do as its root, but for the classifier: what it writes is
        # the logits. The trace sees heads as one: queries, keys and values meet in the attention.
        output = layer.value.modules("reads")[0]
        expected = {
            query: {*layer.query_key.axes, *layer.value.axes},
            layer.intermediate.modules("writes")[0]: set(layer.intermediate.axes),
            output: set(dimensions.hidden.axes),
        }
        for root, axes in expected.items():
            found = {
                (names[dependency.target.module], dependency.handler)
                for dependency, _ in graph.get_pruning_group(modules[root], prune, idxs=[0])
                if dependency.target.module in names
            }
            traced = {
                (name, parameter, dim)
                for name, handler in found
                for parameter, dim in _places(modules[name], graph, handler)
            }
            labelled = {(axis.module, axis.parameter, axis.dim) for axis in axes}
            if traced != labelled:
                tensors = {f"{name}.{parameter}" for name, parameter, _ in traced ^ labelled}
                raise AdjustError(
                    f"Labels and trace of this {model.config.model_type} model disagree about what"
                    f" depends on {root}: {_some(tensors)}.",
                    _REPORT,
                )


def _dependency_graph(model: PreTrainedModel) -> tuple[Any, Any]:
    """Trace the model; return torch-pruning's graph and the function that roots a group."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it cannot prune, which we compare anyway
        import torch_pruning

        tokens = torch.full((1, 8), width(model.config, "vocab_size") - 1)
        graph = torch_pruning.DependencyGraph().build_dependency(
            model,
            example_inputs={"input_ids": tokens},
            output_transform=lambda output: (output.start_logits + output.end_logits).sum(),
            verbose=False,
        )
    return graph, torch_pruning.prune_linear_out_channels


def _places(module: Any, graph: Any, handler: Any) -> list[tuple[str, int]]:
    """Return the (parameter, dimension) pairs that a pruning function of torch-pruning shortens."""
    import torch

    writes = graph.is_out_channel_pruning_fn(handler)
    if isinstance(module, torch.nn.Linear):
        has_bias = writes and module.bias is not None
        return [("weight", 0 if writes else 1)] + ([("bias", 0)] if has_bias else [])
    if isinstance(module, torch.nn.Embedding):
        return [("weight", 1)]
    return [(name, 0) for name, _ in module.named_parameters(recurse=False)]


def _some(names: Any, limit: int = 3) -> str:
    """List a few names, and count the rest."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + rest
