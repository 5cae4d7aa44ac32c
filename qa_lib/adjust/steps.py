"""A cut in steps: which units stay is decided anew at sizes between the parent's and the target's.

First-order scores hold near the model that they were measured on. So units go a part at a time, and
those that are left are scored on the model of the step before, by its divergence from the parent's
logits. Only the choice takes steps: what reads the units that stay is refitted at each step to the
parent's activations, not to the last step's, so that the end is one plan like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.plan import Keep
from qa_lib.adjust.sizes import Sizes, is_expressible

if TYPE_CHECKING:
    import torch

    from qa_lib.adjust.groups import Groups
    from qa_lib.adjust.importance import Scores

_GONE = -1.0  # below the score of any unit that is left


def between(whole: Sizes, target: Sizes, share: float, round_to: int) -> Sizes:
    """Return the sizes after a share of the way to a target, in equal ratios for equal shares.

    Args:
        whole: Where the way begins.
        target: Where it ends; its layers stay all the way, its vocabulary is left out.
        share: From 0 to 1.
        round_to: Intermediate sizes are multiples of this, but the target's.
    """

    def part(before: int, after: int, step: int = 1) -> int:
        between_them = before * (after / before) ** share
        return min(before, max(after, round(between_them / step) * step))

    num_heads = part(whole.num_heads, target.num_heads)
    return Sizes(
        layers=target.layers,
        hidden_size=num_heads * part(whole.head_size, target.head_size),
        num_heads=num_heads,
        intermediate_size=part(whole.intermediate_size, target.intermediate_size, round_to),
    )


def sizes_between(config: Any, target: Sizes, num_steps: int, round_to: int) -> Iterator[Sizes]:
    """Yield the sizes of the steps before the last; those that change nothing are left out.

    Args:
        config: The parent's configuration.
        target: Where the last step ends.
        num_steps: How many steps there are in all.
        round_to: As of `between`.
    """
    whole = replace(Sizes.of(config), layers=target.layers)
    seen = {whole, between(whole, target, 1.0, round_to)}
    for step in range(1, num_steps):
        sizes = between(whole, target, step / num_steps, round_to)
        if sizes not in seen and is_expressible(config, sizes):
            seen.add(sizes)
            yield sizes


def scattered(scores: Scores, groups: Groups, keep: Keep) -> Scores:
    """Return the scores of a cut model's units at their places in the whole one.

    Args:
        scores: Of the cut model.
        groups: Of the whole model.
        keep: What the cut model has of it.
    """
    import torch

    def spread(values: torch.Tensor, kept: tuple[int, ...], width: int) -> torch.Tensor:
        whole = torch.full((width,), _GONE, dtype=values.dtype)
        whole[list(kept)] = values
        return whole

    found = {
        group.name: spread(scores[group.name], keep.of(group), group.width)
        for group in groups
        if group.name in scores
    }
    for layer, heads in enumerate(keep.heads):
        found[f"{layer}.heads"] = spread(scores[f"{layer}.heads"], heads, groups.num_heads)
    return found
