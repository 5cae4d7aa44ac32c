"""The proof that groups are complete: reordering the units of each changes no logit."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch
from qa_lib.adjust.families import family_of
from qa_lib.adjust.groups import Dimensions, Group
from qa_lib.adjust.probe_batch import logits, require

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PERMUTATION_TOLERANCE = 1e-9  # of float64 logits, relative to the largest


def check_permutation(parent: PreTrainedModel, dimensions: Dimensions, batch: Batch) -> float:
    """Reorder the units of every group, which must not change a logit.

    Weights are jittered first: where a LayerNorm's gain is one everywhere, reordering it shows
    nothing. The softmax over keys hides their bias, which adds the same to every key's score: a
    wrong dimension there shows in the shapes.

    Args:
        parent: In float64.
        dimensions: The groups to test.
        batch: A few windows.

    Returns:
        The largest change, relative to the largest logit.
    """
    jittered = copy.deepcopy(parent)
    _jitter(jittered)
    reference = logits(jittered, batch)
    error = _permutation_error(jittered, dimensions, dimensions.groups, batch, reference)
    if error > PERMUTATION_TOLERANCE:
        apart = _apart(dimensions)
        wrong = [
            " with ".join(group.name for group in groups)
            for groups in apart
            if _permutation_error(jittered, dimensions, groups, batch, reference)
            > PERMUTATION_TOLERANCE
        ]
        require(
            False, f"reordering the units of {', '.join(wrong)} changes the logits by {error:.1e}"
        )
    return error


def _apart(dimensions: Dimensions) -> list[list[Group]]:
    """Return the smallest sets of groups that can be reordered without the rest.

    Heads move whole, so that an attention's two groups go together, and where one tensor serves the
    heads of all layers, all attentions.
    """
    attentions = [[layer.query_key, layer.value] for layer in dimensions.layers]
    heads = [group for group in dimensions.others if group.name == "heads"]
    if heads:
        attentions = [[*heads, *(group for pair in attentions for group in pair)]]
    rest = [dimensions.hidden, *(layer.intermediate for layer in dimensions.layers)]
    rest += [group for group in dimensions.others if group not in heads]
    return [*([group] for group in rest), *attentions]


def _permutation_error(
    model: PreTrainedModel,
    dimensions: Dimensions,
    groups: list[Group],
    batch: Batch,
    reference: torch.Tensor,
) -> float:
    import torch

    orders = _orders(dimensions, model.config)
    permuted = copy.deepcopy(model)
    state = permuted.state_dict()
    for group in groups:
        for axis in group.axes:
            tensor = state[axis.tensor]
            order = torch.arange(tensor.shape[axis.dim])
            for start in (block * group.width for block in axis.blocks):
                order[start : start + group.width] = start + orders[group.name]
            tensor.copy_(tensor.index_select(axis.dim, order.to(tensor.device)))
    if any(group.name == "vocabulary" for group in groups):
        batch = batch | {"input_ids": orders["vocabulary"].argsort()[batch["input_ids"]]}
    change = (logits(permuted, batch) - reference).abs().max()
    return float(change / reference.abs().max())


def _orders(dimensions: Dimensions, config: Any) -> dict[str, torch.Tensor]:
    """Draw an order of every group's units: heads move whole, and units inside their head.

    Rotary positions turn a head's units each by its place, so that they stay there, and so does the
    padding, which models know by its id.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    heads = dimensions.num_heads

    def draw(count: int) -> torch.Tensor:
        """Draw one cycle through all units, so that none stays where it is."""
        cycle = torch.randperm(count, generator=generator)
        return torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1))

    orders = {group.name: draw(group.width) for group in (dimensions.hidden, *dimensions.others)}
    vocabulary = torch.arange(config.vocab_size)
    rest = vocabulary[vocabulary != (config.pad_token_id or 0)]
    orders["vocabulary"] = vocabulary.scatter(0, rest, rest[draw(len(rest))])
    rotary = family_of(config).rotary
    for layer in dimensions.layers:
        orders[layer.intermediate.name] = draw(layer.intermediate.width)
        head_order = orders["heads"] if dimensions.ties_heads else draw(heads)
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
