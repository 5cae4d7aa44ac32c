"""Ragged models: how many heads and units each layer keeps.

Sizes begin even: as many heads and units in every layer, none in a block that is dropped. Once
units are scored, the totals are redistributed to the layers where units matter more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qa_lib.adjust.sizes import Sizes
from qa_lib.models.ragged import Blocks

if TYPE_CHECKING:
    import torch


def spread_evenly(
    sizes: Sizes,
    num_heads: int,
    without_attention: Collection[int] = (),
    without_feed_forward: Collection[int] = (),
) -> Sizes:
    """Return sizes of a ragged model, with as many heads and units in every layer.

    The two collections hold the places of layers whose block is dropped.
    """
    places, width = range(len(sizes.layers)), sizes.intermediate_size
    heads = tuple(0 if place in without_attention else num_heads for place in places)
    widths = tuple(0 if place in without_feed_forward else width for place in places)
    return replace(sizes, blocks=Blocks(heads, widths))


def redistribute(scores: Mapping[str, torch.Tensor], sizes: Sizes, round_to: int) -> Sizes:
    """Move heads and units between layers to where they matter most; stock sizes stay.

    Args:
        scores: Of heads and units by group name. They are compared between layers: Taylor scores
            all estimate the same loss, those of other methods have a scale in each layer.
        sizes: The totals; a dropped block stays dropped, any other keeps at least one head or
            `round_to` units.
        round_to: Units move in steps of this many.
    """
    if sizes.blocks is None:
        return sizes
    layers = range(len(sizes.layers))
    heads = _shares([scores[f"{i}.heads"] for i in layers], sizes.blocks.num_heads, 1)
    widths = _shares(
        [scores[f"{i}.intermediate"] for i in layers], sizes.blocks.intermediate_size, round_to
    )
    return replace(sizes, intermediate_size=max(widths), blocks=Blocks(heads, widths))


def _shares(scores: Sequence[torch.Tensor], even: tuple[int, ...], step: int) -> tuple[int, ...]:
    """Return how many of each layer's units are among the best of all layers, in steps."""
    step = min([step, *filter(None, even)])  # a layer's share may be less than a step
    steps = {
        layer: values.sort(descending=True).values.split(step)
        for layer, values in enumerate(scores)
        if even[layer]
    }
    shares = [len(steps[layer][0]) if layer in steps else 0 for layer in range(len(even))]
    # Best first within a layer, so that a layer's steps come in their order.
    rest = sorted(
        (-float(values.mean()), layer, number, len(values))
        for layer, parts in steps.items()
        for number, values in enumerate(parts[1:])
    )
    full: set[int] = set()
    for _, layer, _, size in rest:
        if sum(shares) + size > sum(even):
            full.add(layer)
        elif layer not in full:
            shares[layer] += size
    return tuple(shares)
