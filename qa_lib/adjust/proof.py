"""The proof that an adjusted model is what its plan says, made before anything is written.

Four parts: the shapes are those of a model built anew from the written configuration; kept tensors
are the parent's, bit for bit; the logits are the parent's with the removed units held at what was
folded; and the groups are complete, because reordering each one's units changes no logit.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.architecture import shapes_of
from qa_lib.adjust.calibrate import Batch
from qa_lib.adjust.coupling import label
from qa_lib.adjust.fold import complement, normalise
from qa_lib.adjust.groups import Dimensions, Group
from qa_lib.adjust.permutation import check_permutation
from qa_lib.adjust.plan import Indices, Plan
from qa_lib.adjust.probe_batch import logits, probe, renumbered, require
from qa_lib.adjust.surgery import take

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LOGIT_TOLERANCE = 1e-5  # of float64 logits: folded biases are rounded to the weights' float32


@dataclass(frozen=True)
class Proof:
    """What was shown.

    Attributes:
        num_tensors: Tensors whose shape is the configuration's.
        num_identical: Tensors that are the parent's at the plan's indices, bit for bit.
        max_logit_error: Largest distance to the parent with its removed units held.
        max_permutation_error: Largest change of the parent's logits when groups are reordered,
            relative to the largest logit.
    """

    num_tensors: int
    num_identical: int
    max_logit_error: float
    max_permutation_error: float


def prove(parent: PreTrainedModel, child: PreTrainedModel, plan: Plan) -> Proof:
    """Prove that `child` is `parent` cut as the plan says.

    Args:
        parent: The plan's parent, in evaluation mode.
        child: The adjusted model.
        plan: What was cut and folded.

    Raises:
        AdjustError: One part fails; nothing of the child can be trusted then.
    """
    dimensions = label(parent.config)
    batch = probe(parent.config, plan.keep.vocabulary)
    num_tensors = check_shapes(child)
    num_identical = check_bits(parent, child, plan)
    parent, child = _double(parent), _double(child)
    permutation_error = check_permutation(parent, dimensions, batch)
    logit_error = check_logits(parent, child, plan, batch)
    return Proof(num_tensors, num_identical, logit_error, permutation_error)


def check_shapes(child: PreTrainedModel) -> int:
    """Compare every tensor's shape with a model built anew from the configuration."""
    expected = shapes_of(child.config)
    found = {name: tuple(tensor.shape) for name, tensor in child.state_dict().items()}
    wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
    require(not wrong, f"these tensors do not fit the configuration: {wrong[:3]}")
    return len(found)


def check_bits(parent: PreTrainedModel, child: PreTrainedModel, plan: Plan) -> int:
    """Compare the tensors that the plan does not name as changed with the parent's, by bits."""
    import torch

    dimensions = label(parent.config)
    layers = dimensions.stored(plan.keep.layers)
    source = parent.state_dict()
    groups = _by_child_layer(dimensions, layers)
    num_identical = 0
    for name, tensor in child.state_dict().items():
        if name in plan.changed:
            continue
        origin = str(dimensions.rename(name, layers))
        places = [(groups[group.name], axis) for group, axis in dimensions.axes[origin]]
        expected = take(source[origin], places, plan.keep)
        same = torch.equal(expected.cpu(), tensor.cpu())
        require(same, f"{name} is not the parent's {origin} at the plan's indices")
        num_identical += 1
    return num_identical


def check_logits(
    parent: PreTrainedModel, child: PreTrainedModel, plan: Plan, batch: Batch
) -> float:
    """Compare the child's logits with those of the parent with its removed units held.

    Args:
        parent: In float64.
        child: In float64.
        plan: What was cut and folded.
        batch: A few windows.
    """
    with held(parent, plan):
        expected = logits(parent, batch)
    error = float((logits(child, renumbered(batch, plan)) - expected).abs().max())
    require(
        error <= LOGIT_TOLERANCE,
        f"the logits differ by {error:.1e} from the parent's with the removed units held",
    )
    return error


@contextmanager
def held(parent: PreTrainedModel, plan: Plan) -> Iterator[None]:
    """Let a whole model compute what the plan's cut model must compute.

    It keeps all its tensors, so that this shares nothing with the surgery: what goes is held at its
    folded value where it is read, removed layers hand on what they get, and LayerNorms take their
    statistics over the kept dimensions.
    """
    dimensions = label(parent.config)
    layers = dimensions.stored(plan.keep.layers)
    groups = _by_child_layer(dimensions, layers)
    with ExitStack() as stack:

        def hook(name: str, function: Any, *, before: bool = False) -> None:
            module = parent.get_submodule(name)
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(function).remove)

        removed_layers = set(range(dimensions.num_layers)) - set(plan.keep.layers)
        if len(dimensions.layers) < dimensions.num_layers:
            passes = _hand_on(removed_layers, dimensions.num_layers)
            hook(f"{dimensions.layer_prefix}0", passes)
        else:
            for index in removed_layers:
                hook(f"{dimensions.layer_prefix}{index}", _hand_on({0}, 1))
        names = {name: dimensions.rename(name, layers) for name in plan.fold.held}
        values = {names[name]: value for name, value in plan.fold.held.items()}
        queries = {name for layer in dimensions.queries for name in layer}
        for group in dimensions.groups:
            if group.name not in groups:
                continue
            removed = complement(plan.keep.of(groups[group.name]), group.width)
            for name in group.modules("reads") if removed else ():
                value = values.get(name, (0.0,) * len(removed))
                if dimensions.layer_of(name) in (None, *layers.values()):
                    hook(name, _hold(removed, value, reads=True), before=True)
            for name in group.modules("writes") if removed else ():
                if group.name.endswith("query_key") and name in queries:
                    hook(name, _hold(removed, (0.0,) * len(removed), reads=False))
            inverse = {layer: index for index, layer in layers.items()}
            for name in group.modules("normalises") if removed else ():
                norm = plan.fold.norms.get(str(dimensions.rename(name, inverse)))
                hook(name, _restrict(plan.keep.of(group), norm))
        yield


def _hand_on(removed: set[int], num_passes: int) -> Any:
    """Return a hook that lets a layer hand on what it gets in some of its passes."""
    count = itertools.count()

    def handing(_: Any, arguments: Any, output: Any) -> Any:
        if next(count) % num_passes not in removed:
            return output
        return (arguments[0], *output[1:]) if isinstance(output, tuple) else arguments[0]

    return handing


def _hold(removed: Indices, value: tuple[float, ...], *, reads: bool) -> Any:
    """Return a hook that holds units of what a module reads or writes."""

    def holding(units: torch.Tensor) -> torch.Tensor:
        units = units.clone()
        units[..., list(removed)] = units.new_tensor(value)
        return units

    if reads:
        return lambda _, arguments: (holding(arguments[0]), *arguments[1:])
    return lambda _, __, output: holding(output)


def _restrict(kept: Indices, norm: Any) -> Any:
    """Return a hook that lets a LayerNorm normalise over the kept dimensions only."""
    index = list(kept)

    def restricted(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        units = arguments[0][..., index]
        weight = units.new_tensor(norm.weight) if norm else module.weight[index]
        result = output.clone()
        result[..., index] = normalise(units, module.eps) * weight
        if module.bias is not None:
            result[..., index] += units.new_tensor(norm.bias) if norm else module.bias[index]
        return result

    return restricted


def _by_child_layer(dimensions: Dimensions, layers: Mapping[int, int]) -> dict[str, Group]:
    """Return the parent's groups under the name that the plan knows them by, by their own name."""
    found = {group.name: group for group in (dimensions.hidden, *dimensions.others)}
    for child, parent in layers.items():
        for group in dimensions.layers[parent]:
            kind = group.name.split(".")[1]
            found[group.name] = Group(f"{child}.{kind}", group.width, group.axes)
    return found


def _double(model: PreTrainedModel) -> PreTrainedModel:
    return copy.deepcopy(model).double().eval()
