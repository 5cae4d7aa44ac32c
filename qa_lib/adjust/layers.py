"""Which layers stay: those whose model, seams repaired, is nearest to the parent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch
from qa_lib.adjust.divergence import Reference
from qa_lib.adjust.families import family_of
from qa_lib.adjust.seams import Repair, Seams
from qa_lib.adjust.sizes import check_layers
from qa_lib.adjust.surgery import drop_layers
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Layers = tuple[int, ...]

_MOST = 70  # sets of layers that are all tried: any of 8 layers, or 1 or 2 of 12
_NUM_BEST = 4  # of the least divergence, of which the answers decide


def best_layers(
    model: PreTrainedModel,
    num_kept: int,
    batches: Iterable[Batch],
    *,
    seams: Seams | None,
    reference: Reference | None = None,
) -> Layers:
    """Choose the layers to keep: those whose model is nearest to the parent on calibration windows.

    All sets of layers are tried where they are few; else layers go one at a time, each the one
    whose loss costs the least. Divergence from the parent's logits, first on few windows, leaves
    the best few; of these that one is kept whose answers are nearest to the parent's.

    Args:
        model: The parent, in evaluation mode.
        num_kept: How many layers stay.
        batches: Calibration windows; no labels are needed.
        seams: The parent's, to repair what is compared; None: layers are only dropped.
        reference: The parent's on these windows, where it is there.
    """
    whole = tuple(range(model.config.num_hidden_layers))
    if family_of(model.config).shares_layers or num_kept == len(whole):
        return whole[:num_kept]
    reference = reference or Reference(model, batches, keeps_streams=True)
    if seams is not None:
        seams.measure_gaps(len(whole) - num_kept)

    def best(sets: Iterable[Layers], *, by_answers: bool) -> Layers:
        possible = [layers for layers in sets if _fits(model.config, layers)]
        if seams is not None:
            seams.measure(possible)

        def cut(layers: Layers) -> PreTrainedModel:
            repair = Repair() if seams is None else seams.repair(layers)
            return drop_layers(model, layers, repair.state())

        def divergence(layers: Layers, *, roughly: bool = False) -> float:
            return reference.divergence(
                cut(layers), _num_shared(layers, seams is not None), roughly=roughly
            )

        # The set with the best answers need not be the nearest one.
        few = max(2 * _NUM_BEST if by_answers else _NUM_BEST, len(possible) // 4)
        if len(possible) > few:
            possible = sorted(possible, key=partial(divergence, roughly=True))[:few]
        if len(possible) > 1:
            possible.sort(key=divergence)
        if by_answers and len(possible) > 1:
            return max(possible[:_NUM_BEST], key=lambda each: reference.agreement(cut(each)))
        return possible[0]

    if math.comb(len(whole), num_kept) <= _MOST:
        return best(itertools.combinations(whole, num_kept), by_answers=True)
    kept = whole
    while len(kept) > num_kept:
        fewer = [(*kept[:gone], *kept[gone + 1 :]) for gone in range(len(kept))]
        kept = best(fewer, by_answers=len(kept) == num_kept + 1)
    return kept


def _num_shared(layers: Layers, repaired: bool) -> int:
    """Return how many of the first layers are the parent's own: not the one before a gap."""
    before_gap = next((p for p, layer in enumerate(layers) if layer > p), len(layers))
    return max(0, min(before_gap - repaired, len(layers) - 1))


def _fits(config: Any, layers: Layers) -> bool:
    """Say whether each layer can take its new place."""
    try:
        check_layers(config, layers)
    except AdjustError:
        return False
    return True
