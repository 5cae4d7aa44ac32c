"""The proof that an adjusted model is what its plan says, made before anything is written.

Five parts: shapes are those of a model built from the new configuration; kept tensors equal the
parent's bit for bit; logits equal the parent's with the removed units held at their folded values
and the refitted maps in place; these solve their normal equations; and groups are complete, because
permuting the units of each changes no logit.
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
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.fold import normalise
from qa_lib.adjust.groups import Group, Groups
from qa_lib.adjust.permutation import check_permutation
from qa_lib.adjust.plan import Fold, Indices, Norm, Plan
from qa_lib.adjust.probe_batch import logits, probe, renumbered, require
from qa_lib.adjust.refit import RESIDUAL_TOLERANCE
from qa_lib.adjust.selection import complement, readers, take

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LOGIT_TOLERANCE = 1e-5  # of float64 logits: folded biases are rounded to float32


@dataclass(frozen=True)
class Proof:
    """The figures of a proof.

    Attributes:
        num_tensors: Tensors with the configuration's shapes.
        num_identical: Tensors that equal the parent's at the plan's indices, bit for bit.
        max_logit_error: Largest difference from the parent with its removed units held.
        max_permutation_error: Largest change of the parent's logits when groups are permuted,
            relative to the largest logit.
        max_refit_residual: Largest residual of the refitted maps' normal equations, relative to
            the equations' terms.
    """

    num_tensors: int
    num_identical: int
    max_logit_error: float
    max_permutation_error: float
    max_refit_residual: float


def prove(parent: PreTrainedModel, child: PreTrainedModel, plan: Plan) -> Proof:
    """Prove that `child` is `parent` cut as the plan says.

    Args:
        parent: The plan's parent, in evaluation mode.
        child: The adjusted model.
        plan: What was cut and folded.

    Raises:
        AdjustError: One part fails; the child cannot be trusted then.
    """
    batch = probe(parent.config, plan.keep.vocabulary)
    residual = plan.fold.residual
    require(
        residual <= RESIDUAL_TOLERANCE,
        f"refitted weights leave {residual:.1e} of their normal equations",
    )
    num_tensors = check_shapes(child)
    num_identical = check_bits(parent, child, plan)
    parent, child = _double(parent), _double(child)
    permutation_error = check_permutation(parent, groups_of(parent.config), batch)
    logit_error = check_logits(parent, child, plan, batch)
    return Proof(num_tensors, num_identical, logit_error, permutation_error, residual)


def check_shapes(child: PreTrainedModel) -> int:
    """Compare all tensors' shapes with those of a model built from the configuration."""
    expected = shapes_of(child.config)
    shapes = {name: tuple(tensor.shape) for name, tensor in child.state_dict().items()}
    wrong = [name for name in expected | shapes if expected.get(name) != shapes.get(name)]
    require(not wrong, f"these tensors do not fit the configuration: {wrong[:3]}")
    return len(shapes)


def check_bits(parent: PreTrainedModel, child: PreTrainedModel, plan: Plan) -> int:
    """Compare the tensors that the plan does not name as changed with the parent's bits."""
    import torch

    groups = groups_of(parent.config)
    layers = groups.stored(plan.keep.layers)
    source = parent.state_dict()
    in_plan = _groups_in_plan(groups, layers)
    num_identical = 0
    for name, tensor in child.state_dict().items():
        if name in plan.changed:
            continue
        origin = str(groups.rename(name, layers))
        places = [(in_plan[group.name], axis) for group, axis in groups.axes[origin]]
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

    Returns:
        The largest difference.
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
    """Make a whole model compute what the plan's cut model must compute.

    The model keeps all its tensors, so that this shares nothing with the surgery: removed units are
    held at their folded values where they are read, refitted maps read the kept units, removed
    layers pass their input on, and LayerNorms take their statistics over the kept dimensions.
    """
    groups = groups_of(parent.config)
    layers = groups.stored(plan.keep.layers)
    in_plan = _groups_in_plan(groups, layers)
    with ExitStack() as stack:

        def hook(name: str, function: Any, *, before: bool = False) -> None:
            module = parent.get_submodule(name)
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(function).remove)

        removed_layers = set(range(groups.num_layers)) - set(plan.keep.layers)
        if len(groups.layers) < groups.num_layers:
            hook(f"{groups.layer_prefix}0", _pass_on(removed_layers, groups.num_layers))
        else:
            for index in removed_layers:
                hook(f"{groups.layer_prefix}{index}", _pass_on({0}, 1))
        for group in groups:
            if group.name in in_plan:
                kept = plan.keep.of(in_plan[group.name])
                _hold_group(hook, groups, group, kept, plan.fold, layers)
        for name, refitted in _refitted_maps(groups, plan, layers).items():
            hook(name, refitted)
        yield


def _hold_group(
    hook: Any, groups: Groups, group: Group, kept: Indices, fold: Fold, layers: Mapping[int, int]
) -> None:
    """Register the hooks that hold a group's removed units."""
    removed = complement(kept, group.width)
    norms = {groups.rename(name, layers): norm for name, norm in fold.norms.items()}
    for name in group.modules("normalises"):
        if removed or name in norms:
            hook(name, _restrict(kept, norms.get(name)))
    if not removed:
        return
    zeros = (0.0,) * len(removed)
    values = {groups.rename(name, layers): held for name, held in fold.held.items()}
    for name in group.modules("reads"):
        if groups.layer_of(name) in (None, *layers.values()):
            hook(name, _hold(removed, values.get(name, zeros), reads=True), before=True)
    if group.name.endswith("query_key"):
        queries = {name for names in groups.queries for name in names}
        for name in set(group.modules("writes")) & queries:
            hook(name, _hold(removed, zeros, reads=False))


def _refitted_maps(groups: Groups, plan: Plan, layers: Mapping[int, int]) -> dict[str, Any]:
    """Return the hooks by which the parent's maps write what the refitted ones write."""
    import torch

    tensors = {groups.rename(name, layers): each for name, each in plan.fold.refitted.items()}
    in_plan, hooks = _groups_in_plan(groups, layers), {}
    for group, name in readers(groups):
        weight, bias = (tensors.get(f"{name}.{parameter}") for parameter in ("weight", "bias"))
        if weight is None and bias is None:
            continue
        shape, axes = groups.shapes[f"{name}.weight"], groups.axes[f"{name}.weight"]
        places = [(in_plan[each.name], axis) for each, axis in axes if axis.dim == 0]
        rows = take(torch.arange(shape[0]), places, plan.keep)
        hooks[name] = _replace(plan.keep.of(in_plan[group.name]), rows, weight, bias)
    return hooks


def _replace(
    kept: Indices, rows: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> Any:
    """Return a hook by which a linear map writes these rows by another weight and bias."""

    def replaced(_: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        units, result = arguments[0][..., list(kept)], output.clone()
        result[..., rows] = 0.0 if weight is None else units @ weight.to(units).T
        if bias is not None:
            result[..., rows] += bias.to(units)
        return result

    return replaced


def _pass_on(removed: set[int], num_passes: int) -> Any:
    """Return a hook by which a layer passes its input on in the removed ones of its passes."""
    count = itertools.count()

    def passing(_: Any, arguments: Any, output: Any) -> Any:
        if next(count) % num_passes not in removed:
            return output
        return (arguments[0], *output[1:]) if isinstance(output, tuple) else arguments[0]

    return passing


def _hold(removed: Indices, value: tuple[float, ...], *, reads: bool) -> Any:
    """Return a hook that holds units of a module's input or output."""

    def holding(units: torch.Tensor) -> torch.Tensor:
        units = units.clone()
        units[..., list(removed)] = units.new_tensor(value)
        return units

    if reads:
        return lambda _, arguments: (holding(arguments[0]), *arguments[1:])
    return lambda _, __, output: holding(output)


def _restrict(kept: Indices, norm: Norm | None) -> Any:
    """Return a hook by which a LayerNorm normalises over the kept dimensions only."""
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


def _groups_in_plan(groups: Groups, layers: Mapping[int, int]) -> dict[str, Group]:
    """Return the parent's groups by their names, named as in the plan."""
    found = {group.name: group for group in (groups.hidden, *groups.others)}
    for child, parent in layers.items():
        for group in groups.layers[parent]:
            kind = group.name.split(".")[1]
            found[group.name] = Group(f"{child}.{kind}", group.width, group.axes)
    return found


def _double(model: PreTrainedModel) -> PreTrainedModel:
    return copy.deepcopy(model).double().eval()
