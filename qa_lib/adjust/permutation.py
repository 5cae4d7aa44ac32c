"""The proof that groups are complete: permuting the units of each changes no logit."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch
from qa_lib.adjust.families import family_of
from qa_lib.adjust.groups import Group, Groups
from qa_lib.adjust.probe_batch import logits, require

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PERMUTATION_TOLERANCE = 1e-9  # of float64 logits, relative to the largest


def check_permutation(parent: PreTrainedModel, groups: Groups, batch: Batch) -> float:
    """Permute the units of every group, which must not change a logit.

    Weights are jittered first, because permuting equal values, such as a LayerNorm's initial gains,
    shows nothing. The softmax over keys hides their bias, which adds the same to every key's score:
    a wrong dimension there shows in the shapes.

    Args:
        parent: In float64.
        groups: The groups to test.
        batch: A few windows.

    Returns:
        The largest change, relative to the largest logit.

    Raises:
        AdjustError: A logit changes; the groups that change it are named.
    """
    jittered = copy.deepcopy(parent)
    _jitter(jittered)
    reference, orders = logits(jittered, batch), _orders(groups, parent.config)

    def error_of(some: Iterable[Group]) -> float:
        change = logits(*_permuted(jittered, batch, list(some), orders)) - reference
        return float(change.abs().max() / reference.abs().max())

    error = error_of(groups)
    if error > PERMUTATION_TOLERANCE:
        wrong = ", ".join(
            " with ".join(group.name for group in some)
            for some in _independent(groups)
            if error_of(some) > PERMUTATION_TOLERANCE
        )
        require(False, f"permuting the units of {wrong} changes the logits by {error:.1e}")
    return error


def _independent(groups: Groups) -> list[list[Group]]:
    """Return the smallest sets of groups that can be permuted without the rest.

    Heads move whole, so that an attention's two groups go together; so do all attentions where one
    tensor serves the heads of all layers.
    """
    attentions = [[layer.query_key, layer.value] for layer in groups.layers]
    heads = [group for group in groups.others if group.name == "heads"]
    if heads:
        attentions = [[*heads, *(group for pair in attentions for group in pair)]]
    rest = [groups.hidden, *(layer.intermediate for layer in groups.layers)]
    rest += [group for group in groups.others if group not in heads]
    return [*([group] for group in rest), *attentions]


def _permuted(
    model: PreTrainedModel, batch: Batch, groups: list[Group], orders: dict[str, torch.Tensor]
) -> tuple[PreTrainedModel, Batch]:
    """Return the model with the units of these groups in another order, and the batch for it."""
    import torch

    model = copy.deepcopy(model)
    state = model.state_dict()
    for group in groups:
        for axis in group.axes:
            tensor = state[axis.tensor]
            order = torch.arange(tensor.shape[axis.dim])
            for start in (block * group.width for block in axis.blocks):
                order[start : start + group.width] = start + orders[group.name]
            tensor.copy_(tensor.index_select(axis.dim, order.to(tensor.device)))
    if any(group.name == "vocabulary" for group in groups):
        batch = batch | {"input_ids": orders["vocabulary"].argsort()[batch["input_ids"]]}
    return model, batch


def _orders(groups: Groups, config: Any) -> dict[str, torch.Tensor]:
    """Draw an order of every group's units: heads move whole, and units inside their head.

    Units that rotary positions rotate by their place in the head stay there; so does the padding
    token, which models know by its id.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    heads = groups.num_heads

    def draw(count: int) -> torch.Tensor:
        """Draw one cycle through all units, so that none stays in its place."""
        cycle = torch.randperm(count, generator=generator)
        return torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1))

    orders = {group.name: draw(group.width) for group in (groups.hidden, *groups.others)}
    vocabulary = torch.arange(config.vocab_size)
    rest = vocabulary[vocabulary != (config.pad_token_id or 0)]
    orders["vocabulary"] = vocabulary.scatter(0, rest, rest[draw(len(rest))])
    rotary = family_of(config).rotary
    for layer in groups.layers:
        orders[layer.intermediate.name] = draw(layer.intermediate.width)
        head_order = orders["heads"] if groups.ties_heads else draw(heads)
        for group in (layer.query_key, layer.value):
            size = group.width // heads
            inside = [torch.arange(size) if rotary else draw(size) for _ in head_order]
            rows = torch.stack([h * size + i for h, i in zip(head_order, inside, strict=True)])
            orders[group.name] = rows.flatten()
    return orders


def _jitter(model: PreTrainedModel) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise.to(parameter.device), alpha=0.02)
