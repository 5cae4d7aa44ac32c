"""From settings to the sizes of the adjusted model; rejected if the family cannot express them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.families import family_of
from qa_lib.adjust.ragged_sizes import spread_evenly
from qa_lib.adjust.sizes import (
    Sizes,
    check_layers,
    check_ragged_family,
    is_expressible,
    spread_layers,
)
from qa_lib.errors import AdjustError
from qa_lib.models.ragged import RAGGED_FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qa_lib.config import AdjustSettings


def resolve(config: Any, settings: AdjustSettings) -> Sizes:
    """Turn settings into the sizes of the adjusted model.

    Hidden size and heads depend on each other, because these families' configurations fix the head
    size as hidden size / heads. A hidden size alone keeps the head size and derives the heads; both
    given change the head size. Without `keep_layers` the first layers stay, or spread ones; `best`
    depends on more than the configuration, see `layers.best_layers`.

    In a ragged model heads and intermediate size are means over the layers that have the block,
    heads can go without the hidden size, and a hidden size alone keeps all heads and their size.

    Args:
        config: The parent's configuration.
        settings: What to change, free of contradictions (`Settings` checks that).

    Raises:
        AdjustError: The family cannot express these sizes; the nearest possible ones are named.
    """
    if not settings.ragged:
        return _stock_sizes(config, settings)
    check_ragged_family(config)
    parent = Sizes.of(config)
    num_heads = settings.num_heads or parent.num_heads
    _check_at_most("num-heads", num_heads, parent.num_heads)
    sizes = _stock_sizes(config, settings.model_copy(update={"num_heads": None}))
    without_attention = _places(sizes, settings.drop_attention)
    without_feed_forward = _places(sizes, settings.drop_feed_forward)
    _check_dropped_blocks(sizes, without_attention, without_feed_forward)
    return spread_evenly(sizes, num_heads, without_attention, without_feed_forward)


def _stock_sizes(config: Any, settings: AdjustSettings) -> Sizes:
    parent = Sizes.of(config)
    hidden_size, num_heads = _hidden(config, parent, settings)
    if family_of(config).rotary and hidden_size // num_heads != parent.head_size:
        raise AdjustError(
            f"{num_heads} heads at hidden size {hidden_size} change the head size"
            f" {parent.head_size}, which this model's rotary positions depend on.",
            f"Pass --adjust.hidden-size {num_heads * parent.head_size} alone.",
        )
    intermediate_size = settings.intermediate_size or parent.intermediate_size
    _check_at_most("intermediate-size", intermediate_size, parent.intermediate_size)
    layers = _layers(parent, settings)
    check_layers(config, layers)
    sizes = Sizes(layers, hidden_size, num_heads, intermediate_size)
    if not is_expressible(config, sizes):
        raise _inexpressible(config, parent, sizes)
    return sizes


def _hidden(config: Any, parent: Sizes, settings: AdjustSettings) -> tuple[int, int]:
    """Return the hidden size and the number of heads."""
    hidden_size, num_heads = settings.hidden_size, settings.num_heads
    if hidden_size is None:
        if num_heads in (None, parent.num_heads):
            return parent.hidden_size, parent.num_heads
        derived = min(num_heads, parent.num_heads) * parent.head_size
        ragged = ", or --adjust.ragged for a model that stock transformers cannot load"
        raise AdjustError(
            f"{num_heads} heads alone cannot be expressed: in this family the head size is hidden"
            " size / heads, so that fewer heads need a smaller hidden size.",
            f"Pass --adjust.hidden-size {derived}, which keeps the head size {parent.head_size}"
            f"{ragged if config.model_type in RAGGED_FAMILIES else ''}.",
        )
    _check_at_most("hidden-size", hidden_size, parent.hidden_size)
    _check_at_most("num-heads", num_heads or 0, parent.num_heads)
    if num_heads is None:
        step = parent.head_size
        if hidden_size % step:
            valid = _nearest(hidden_size, range(step, parent.hidden_size + 1, step))
            raise AdjustError(
                f"The hidden size {hidden_size} is not a multiple of the head size, {step}.",
                f"The nearest that is: --adjust.hidden-size {valid}.",
            )
        return hidden_size, hidden_size // step
    if hidden_size // num_heads > parent.head_size:
        raise AdjustError(
            f"{num_heads} heads at hidden size {hidden_size} have {hidden_size // num_heads} units"
            f" each, but the model's have {parent.head_size}, and heads do not grow.",
            f"Pass --adjust.hidden-size {num_heads * parent.head_size} with"
            f" --adjust.num-heads {num_heads}.",
        )
    return hidden_size, num_heads


def _layers(parent: Sizes, settings: AdjustSettings) -> tuple[int, ...]:
    last = len(parent.layers) - 1
    _check_at_most("num-layers", settings.num_layers or 0, last + 1)
    keep = settings.keep_layers
    if keep is None and settings.layers == "spread" and settings.num_layers is not None:
        return spread_layers(last + 1, settings.num_layers)
    if keep is None:
        return parent.layers[: settings.num_layers]
    if max(keep) > last:
        valid = sorted({min(index, last) for index in keep})
        raise AdjustError(
            f"Layer {max(keep)} cannot be kept: the model's layers are 0 to {last}.",
            f"The nearest possible: --adjust.keep-layers {' '.join(map(str, valid))}.",
        )
    return keep


def _places(sizes: Sizes, layers: tuple[int, ...] | None) -> set[int]:
    """Return the places of the parent's layers among those that are kept."""
    for layer in layers or ():
        if layer not in sizes.layers:
            raise AdjustError(
                f"Layer {layer} is not kept: it has no block to drop.",
                f"Name some of the layers {' '.join(map(str, sizes.layers))}.",
            )
    return {sizes.layers.index(layer) for layer in layers or ()}


def _check_dropped_blocks(
    sizes: Sizes, without_attention: set[int], without_feed_forward: set[int]
) -> None:
    both = without_attention & without_feed_forward
    if both:
        rest = [layer for place, layer in enumerate(sizes.layers) if place not in both]
        raise AdjustError(
            f"Layer {sizes.layers[min(both)]} would lose its attention and its feed-forward part.",
            f"Drop the layer itself: --adjust.keep-layers {' '.join(map(str, rest))}.",
        )
    if len(sizes.layers) in (len(without_attention), len(without_feed_forward)):
        raise AdjustError(
            "No layer would have an attention, or none a feed-forward part.",
            "Leave one layer out of --adjust.drop-attention and --adjust.drop-feed-forward.",
        )


def _check_at_most(flag: str, value: int, available: int) -> None:
    if value > available:
        what = flag.replace("num-", "number of ").replace("-", " ")
        raise AdjustError(
            f"The {what} {value} is more than the model has.",
            f"The nearest possible: --adjust.{flag} {available}.",
        )


def _inexpressible(config: Any, parent: Sizes, sizes: Sizes) -> AdjustError:
    """Return the error that names the nearest hidden size with the parent's tensors."""
    keeps_head_size = sizes.head_size == parent.head_size
    step = parent.head_size if keeps_head_size else sizes.num_heads
    largest = parent.hidden_size if keeps_head_size else sizes.num_heads * parent.head_size
    candidates = [
        replace(sizes, hidden_size=size, num_heads=size // step if keeps_head_size else step)
        for size in range(step, largest + 1, step)
    ]
    valid = [each.hidden_size for each in candidates if is_expressible(config, each)]
    return AdjustError(
        f"The hidden size {sizes.hidden_size} cannot be expressed by a {config.model_type}"
        " configuration: it would leave out a projection that this model has.",
        f"The nearest possible: --adjust.hidden-size {_nearest(sizes.hidden_size, valid)}.",
    )


def _nearest(value: int, valid: Iterable[int]) -> int:
    return min(valid, key=lambda other: (abs(other - value), other))
