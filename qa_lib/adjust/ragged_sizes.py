"""Ragged models: how many heads and units each layer keeps.

Sizes begin even: so many heads and units in every layer, and none in a block that is dropped. Once
units are scored, they move to the layers where they matter more, as many in all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_lib.adjust import sizes as stock
from qa_lib.adjust.sizes import Sizes, check_ragged_family
from qa_lib.errors import AdjustError
from qa_lib.models.ragged import Blocks

if TYPE_CHECKING:
    import torch

    from qa_lib.config import AdjustSettings


def resolve(config: Any, settings: AdjustSettings) -> Sizes:
    """Turn settings into the sizes of the adjusted model, ragged where they say so.

    There heads and intermediate size are means over the layers that have the block, heads can go
    without the hidden size, and a hidden size alone leaves all heads, of the size that they had.

    Args:
        config: The parent's configuration.
        settings: What to change, free of contradictions (`Settings` sees to that).

    Raises:
        AdjustError: No model of this family can be so; the nearest one that can is named.
    """
    if not settings.ragged:
        return stock.resolve(config, settings)
    check_ragged_family(config)
    parent = Sizes.of(config)
    num_heads = settings.num_heads or parent.num_heads
    stock.at_most("number of heads", num_heads, parent.num_heads)
    plain = stock.resolve(config, settings.model_copy(update={"num_heads": None}))
    drops = (settings.drop_attention, settings.drop_feed_forward)
    dropped = [_places(plain, layers) for layers in drops]
    both = dropped[0] & dropped[1]
    if both:
        rest = [layer for place, layer in enumerate(plain.layers) if place not in both]
        raise AdjustError(
            f"Layer {plain.layers[min(both)]} would lose its attention and its feed-forward part.",
            f"Drop the layer itself: --adjust.keep-layers {' '.join(map(str, rest))}.",
        )
    if any(len(places) == len(plain.layers) for places in dropped):
        raise AdjustError(
            "No layer would have an attention, or none a feed-forward part.",
            "Leave one layer out of --adjust.drop-attention and --adjust.drop-feed-forward.",
        )
    return even(plain, num_heads, *dropped)


def even(
    sizes: Sizes,
    num_heads: int,
    without_attention: Collection[int] = (),
    without_feed_forward: Collection[int] = (),
) -> Sizes:
    """Return sizes as a ragged model's, so many heads and units in every layer but these places."""
    places, width = range(len(sizes.layers)), sizes.intermediate_size
    heads = tuple(0 if place in without_attention else num_heads for place in places)
    widths = tuple(0 if place in without_feed_forward else width for place in places)
    return replace(sizes, blocks=Blocks(heads, widths))


def distribute(scores: Mapping[str, torch.Tensor], sizes: Sizes, round_to: int) -> Sizes:
    """Move heads and units between layers to where they matter most; stock sizes stay.

    Args:
        scores: Of heads and units by group name. They are compared between layers: Taylor's all
            estimate the same loss, the others' have a scale in each layer.
        sizes: How many there are in all; a block that has none gets none, any other at least one
            head or `round_to` units.
        round_to: Units go in steps of so many.
    """
    if sizes.blocks is None:
        return sizes
    layers = range(len(sizes.layers))
    heads = _shares([scores[f"{i}.heads"] for i in layers], sizes.blocks.num_heads, 1)
    widths = _shares(
        [scores[f"{i}.intermediate"] for i in layers], sizes.blocks.intermediate_size, round_to
    )
    return replace(sizes, intermediate_size=max(widths), blocks=Blocks(heads, widths))


def _shares(scores: Sequence[torch.Tensor], wish: tuple[int, ...], step: int) -> tuple[int, ...]:
    """Return how many of each layer's units are among the best of all layers, in steps."""
    steps = {
        layer: ordered.split(step)
        for layer, ordered in enumerate(each.sort(descending=True).values for each in scores)
        if wish[layer]
    }
    shares = [len(steps[layer][0]) if layer in steps else 0 for layer in range(len(wish))]
    # Best first within a layer, so that a layer's steps come in their order.
    rest = sorted(
        (-float(each.mean()), layer, number, len(each))
        for layer, found in steps.items()
        for number, each in enumerate(found[1:])
    )
    full: set[int] = set()
    for _, layer, _, size in rest:
        if sum(shares) + size > sum(wish):
            full.add(layer)
        elif layer not in full:
            shares[layer] += size
    return tuple(shares)


def _places(sizes: Sizes, layers: tuple[int, ...] | None) -> set[int]:
    """Return the places of the parent's layers among those that are kept."""
    for layer in layers or ():
        if layer not in sizes.layers:
            raise AdjustError(
                f"Layer {layer} is not kept: it has no block to drop.",
                f"Name some of the layers {' '.join(map(str, sizes.layers))}.",
            )
    return {sizes.layers.index(layer) for layer in layers or ()}
