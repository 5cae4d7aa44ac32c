"""Surgery: every dependent tensor of a parent sliced as a plan says, its config rewritten."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qa_lib import models
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.plan import Fold, Keep, Plan
from qa_lib.adjust.selection import complement, kept_shape, readers, take
from qa_lib.adjust.sizes import Sizes, check_layers, check_ragged_family
from qa_lib.adjust.vocabulary import renumber
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

State = dict[str, "torch.Tensor"]


def apply(model: PreTrainedModel, plan: Plan) -> PreTrainedModel:
    """Cut a model as a plan says.

    Args:
        model: The plan's parent; it is not changed.
        plan: What stays, and what is folded.

    Returns:
        A model of the same class on the same device, in evaluation mode, built from the rewritten
        configuration.

    Raises:
        AdjustError: The plan does not fit the model.
    """
    if plan.keep.ragged:
        check_ragged_family(model.config)
    short = drop_layers(model, plan.keep.layers)
    groups = groups_of(short.config)
    check(plan, groups)
    state = cut(short.state_dict(), groups, plan.keep, plan.fold)
    kept = plan.keep.vocabulary
    config = model.config if kept is None else renumber(model.config, kept)
    return build(plan.keep.sizes.apply(config), state)


def drop_layers(
    model: PreTrainedModel,
    layers: tuple[int, ...],
    repaired: Mapping[str, torch.Tensor] | None = None,
) -> PreTrainedModel:
    """Return the model with these of its layers only, sharing the tensors of the original.

    Args:
        model: The parent; it is not changed.
        layers: Those that stay, ascending.
        repaired: Tensors, by their names in the new model, that replace the original's.

    Raises:
        AdjustError: The model has no such layers.
    """
    groups = groups_of(model.config)
    if not layers or max(layers) >= groups.num_layers:
        raise AdjustError(
            f"The plan keeps layers {list(layers)} of a model of {groups.num_layers}.",
            "Replay a plan on the checkpoint that it was made for.",
        )
    check_layers(model.config, layers)
    position = {layer: index for index, layer in groups.stored(layers).items()}
    renamed = {groups.rename(name, position): t for name, t in model.state_dict().items()}
    state = {name: tensor for name, tensor in renamed.items() if name is not None}
    for name, tensor in (repaired or {}).items():
        state[name] = tensor.to(state[name])
    whole = Sizes.of(model.config)
    sizes = Sizes(layers, whole.hidden_size, whole.num_heads, whole.intermediate_size)
    return build(sizes.apply(model.config), state)


def build(config: Any, state: Mapping[str, torch.Tensor]) -> PreTrainedModel:
    """Build a model from its configuration, and load exactly its tensors."""
    import torch
    from transformers.initialization import no_init_weights

    # To draw weights that are replaced would take seconds for a model of base size.
    with torch.random.fork_rng(devices=[]), no_init_weights():
        model = models.build(config)
    model.load_state_dict(state, strict=True, assign=True)
    # The loaded tensors keep their device; buffers outside of checkpoints are still on the CPU.
    model.to(next(iter(state.values())).device)  # type: ignore[arg-type]
    return model.eval()


def cut(state: State, groups: Groups, keep: Keep, fold: Fold) -> State:
    """Slice a state dict.

    Args:
        state: Of the model without the layers that go.
        groups: Its groups.
        keep: What stays.
        fold: What is folded and refitted.
    """
    state = {name: tensor.clone() for name, tensor in state.items()}  # nothing is shared
    for group, name in readers(groups):
        if name in fold.held:
            removed = complement(keep.of(group), group.width)
            state[f"{name}.bias"] = _folded(state, name, removed, fold.held[name])
    for name, places in groups.axes.items():
        state[name] = take(state[name], places, keep)
    for name, fitted in fold.refitted.items():
        state[name] = fitted.to(state[name])
    for name, factor in query_scales(groups, keep).items():
        for tensor in state.keys() & {f"{name}.weight", f"{name}.bias"}:
            state[tensor] = state[tensor] * factor
    for name, norm in fold.norms.items():
        for parameter, values in norm:
            if values is not None:
                tensor = f"{name}.{parameter}"
                state[tensor] = state[tensor].new_tensor(values)
    return {name: tensor for name, tensor in state.items() if tensor.numel()}


def query_scales(groups: Groups, keep: Keep) -> dict[str, float]:
    """Return the factor of each query map: attention divides by the root of the new head size."""
    before = groups.hidden.width // groups.num_heads
    after = keep.sizes.head_size
    factor = math.sqrt(after / before)
    names = [name for layer in groups.queries for name in layer]
    return {} if after == before else dict.fromkeys(names, factor)


def changed_tensors(groups: Groups, keep: Keep, fold: Fold) -> dict[str, str]:
    """Name the tensors that are not a plain selection of the parent's values, with the reason."""
    reasons = {f"{name}.bias": "removed units folded in" for name in fold.held}
    reasons |= dict.fromkeys(fold.refitted, "refitted by least squares")
    reasons |= {
        f"{name}.{parameter}": "refitted to the kept dimensions"
        for name, norm in fold.norms.items()
        for parameter, values in norm
        if values is not None
    }
    for name, factor in query_scales(groups, keep).items():
        for tensor in (f"{name}.weight", f"{name}.bias"):
            if tensor in groups.shapes:
                before = f"{reasons[tensor]}; " if tensor in reasons else ""
                reasons[tensor] = f"{before}times {factor:.6f} for the new head size"
    return reasons


def check(plan: Plan, groups: Groups) -> None:
    """Check that a plan fits the groups of the kept layers.

    Raises:
        AdjustError: The plan does not fit.
    """
    problems = _problems(plan.keep, plan.fold, groups)
    if not problems and plan.changed != changed_tensors(groups, plan.keep, plan.fold):
        problems = ["the changed tensors that it names are not those that it changes"]
    for problem in problems:
        raise AdjustError(
            f"The plan does not fit the model: {problem}.",
            "Replay a plan on the checkpoint that it was made for, unchanged.",
        )


def _problems(keep: Keep, fold: Fold, groups: Groups) -> list[str]:
    nested = (keep.heads, keep.query_key, keep.value, keep.intermediate)
    num_stored = len(groups.layers)
    if any(len(lists) != num_stored for lists in nested):
        return [f"it does not list units for each of its {num_stored} layers"]
    kept = [(group.name, keep.of(group), group.width) for group in groups]
    kept += [(f"{i}.heads", heads, groups.num_heads) for i, heads in enumerate(keep.heads)]
    problems = [
        f"the indices of {name} are not ascending and below {width}"
        for name, indices, width in kept
        if list(indices) != sorted(set(indices))
        or not (0 <= indices[-1] < width if indices else keep.ragged and "." in name)
    ]
    if problems:
        return problems
    problems = _width_problems(keep, groups)
    if groups.ties_heads and len(set(keep.heads)) > 1:
        problems.append("it keeps different heads in different layers")
    if any(g.name == "head" and len(keep.head) != len(keep.hidden) for g in groups.others):
        problems.append("its head is not as wide as the hidden size")
    return problems + _fold_problems(keep, fold, groups)


def _fold_problems(keep: Keep, fold: Fold, groups: Groups) -> list[str]:
    problems = []
    num_removed = {
        name: group.width - len(keep.of(group))
        for group, name in readers(groups)
        if f"{name}.bias" in groups.shapes
    }
    maps = {f"{name}.{parameter}" for name in num_removed for parameter in ("weight", "bias")}
    maps |= {f"{name}.weight" for _, name in readers(groups)}
    for name, tensor in fold.refitted.items():
        if name not in maps or tensor.shape != kept_shape(groups, keep, name):
            problems.append(f"its refitted {name} is none of the model's")
            break
    if any(len(held) != num_removed.get(name) for name, held in fold.held.items()):
        problems.append("the units that it folds are not those that it removes")
    norms = {name for group in groups for name in group.modules("normalises")}
    if not fold.norms.keys() <= norms or any(
        {len(values) for values in (norm.weight, norm.bias) if values is not None}
        != {len(keep.hidden)}
        or (norm.bias is not None) != (f"{name}.bias" in groups.shapes)
        for name, norm in fold.norms.items()
    ):
        problems.append("the LayerNorms that it refits are not the model's")
    return problems


def _width_problems(keep: Keep, groups: Groups) -> list[str]:
    """Check the widths of layers against each other, and against the hidden size."""
    num_hidden, head_size = len(keep.hidden), groups.hidden.width // groups.num_heads
    nested = (keep.heads, keep.query_key, keep.value, keep.intermediate)
    widths = {tuple(map(len, layer)) for layer in zip(*nested, strict=True)}
    if not keep.ragged:
        num_heads, query_key, value, _ = next(iter(widths))
        is_even = len(widths) == 1 and {query_key, value} == {num_hidden}
        if is_even and num_hidden % num_heads == 0:
            return []
        return ["its widths are not the same in every layer, or no multiple of the heads"]
    if num_hidden % head_size or any(
        {query_key, value} != {num_heads * head_size} for num_heads, query_key, value, _ in widths
    ):
        return [f"its heads do not have {head_size} units each, as the hidden size does"]
    if not any(keep.heads) or not any(keep.intermediate):
        return ["it leaves no layer an attention, or none a feed-forward part"]
    return []


def _folded(
    state: State, name: str, removed: tuple[int, ...], held: tuple[float, ...]
) -> torch.Tensor:
    """Return the bias of a linear map whose removed inputs are held constant."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    gone = weight[:, list(removed)].double()
    return (bias.double() + gone @ gone.new_tensor(held)).to(bias.dtype)
