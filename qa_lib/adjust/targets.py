"""Sizes for a target: a speed-up over the parent, or a fraction of its parameters.

Sizes that reach the target are compared by the loss right after surgery on the calibration windows,
cut in one step from one calibration of the parent; ragged ones with equal shares.
The residual stream is cut only where nothing else reaches the target: cutting it costs the most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_lib.adjust import cost
from qa_lib.adjust.calibrate import Batch, computing, span_loss
from qa_lib.adjust.divergence import Reference, comparing
from qa_lib.adjust.layers import best_layers
from qa_lib.adjust.ragged_sizes import spread_evenly
from qa_lib.adjust.seams import Seams
from qa_lib.adjust.shared import SharedCalibration
from qa_lib.adjust.sizes import Sizes, check_ragged_family, is_expressible, spread_layers
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qa_lib.config import AdjustSettings

_NARROWEST = 8  # no feed-forward part below an eighth of the parent's


def find_sizes(
    model: PreTrainedModel,
    settings: AdjustSettings,
    batches: Iterable[Batch],
    *,
    vocabulary_size: int | None = None,
    seams: Seams | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Sizes:
    """Find the sizes that reach the settings' target with the lowest loss.

    Args:
        model: The parent, in evaluation mode.
        settings: With `target_speedup` or `target_parameters`.
        batches: Calibration windows, iterated over several times.
        vocabulary_size: Number of tokens that stay, where not all do.
        seams: The model's; None: measured here.
        seed: Of `random` importance.
        device: That speed-ups are of, as of `cost.predict_latencies`.

    Raises:
        AdjustError: No sizes reach the target; the nearest possible one is named.
    """
    if settings.ragged:
        check_ragged_family(model.config)
    config, seams = model.config, seams or Seams(model, batches)
    parent = replace(Sizes.of(config), vocabulary_size=vocabulary_size)

    def reaches(sizes: Sizes) -> bool:
        parameters, speedup = settings.target_parameters, settings.target_speedup
        if parameters is not None and _parameters(config, sizes) > parameters:
            return False
        return speedup is None or _speedup(config, sizes, device) >= speedup

    for hidden in _hidden_steps(config, parent, settings.round_to):
        candidates = [
            sizes
            for count in range(len(hidden.layers), 0, -1)
            if (sizes := _widest(hidden, count, settings.round_to, reaches)) is not None
        ]
        if candidates:
            with computing(model):  # the latencies are those of the library's own kernels
                found = _best(model, candidates, settings, batches, seams, seed)
            return spread_evenly(found, found.num_heads) if settings.ragged else found
    raise _unreachable(config, parent, settings, device)


def _parameters(config: Any, sizes: Sizes) -> float:
    """Return the fraction of the parent's parameters."""
    return cost.num_parameters(sizes.apply(config)) / cost.num_parameters(config)


def _speedup(config: Any, sizes: Sizes, device: str) -> float:
    """Return the predicted speed-up over the parent."""
    before, after = cost.predict_latencies([config, sizes.apply(config)], device)
    return before / after


def _hidden_steps(config: Any, parent: Sizes, round_to: int) -> Iterator[Sizes]:
    """Yield ever smaller residual streams, a head at a time."""
    for heads in range(parent.num_heads, 0, -1):
        sizes = replace(parent, hidden_size=heads * parent.head_size, num_heads=heads)
        is_round = sizes.hidden_size % round_to == 0 or heads == parent.num_heads
        if is_round and is_expressible(config, sizes):
            yield sizes


def _widest(
    sizes: Sizes, num_layers: int, round_to: int, reaches: Callable[[Sizes], bool]
) -> Sizes | None:
    """Return the sizes with the widest intermediate part that reach the target, or None."""
    widths = _widths(sizes, round_to)

    def sized(index: int) -> Sizes:
        return replace(sizes, layers=sizes.layers[:num_layers], intermediate_size=widths[index])

    low, high = 0, len(widths) - 1
    if not reaches(sized(low)):
        return None
    while low < high:  # the narrower, the faster and the smaller
        middle = (low + high + 1) // 2
        low, high = (middle, high) if reaches(sized(middle)) else (low, middle - 1)
    return sized(low)


def _widths(sizes: Sizes, round_to: int) -> list[int]:
    """Return the intermediate sizes to try, ascending up to the parent's."""
    step = min(round_to, sizes.intermediate_size)
    narrowest = max(step, sizes.intermediate_size // _NARROWEST // step * step)
    return [*range(narrowest, sizes.intermediate_size, step), sizes.intermediate_size]


def _best(
    model: PreTrainedModel,
    candidates: Sequence[Sizes],
    settings: AdjustSettings,
    batches: Iterable[Batch],
    seams: Seams,
    seed: int,
) -> Sizes:
    """Return the sizes, with the layers chosen, whose model has the lowest loss after surgery."""
    import torch

    if settings.layers == "spread":
        whole = model.config.num_hidden_layers
        candidates = [
            replace(sizes, layers=spread_layers(whole, len(sizes.layers))) for sizes in candidates
        ]
    elif settings.layers == "best":
        reference = Reference(model, batches, kernels=comparing(model), keeps_streams=True)
        repaired = seams if settings.repairs_seams else None
        candidates = [
            replace(
                sizes,
                layers=best_layers(
                    model, len(sizes.layers), batches, seams=repaired, reference=reference
                ),
            )
            for sizes in candidates
        ]
    if settings.repairs_seams:
        seams.measure(sizes.layers for sizes in candidates)
    shared = SharedCalibration(model, batches, settings, seams=seams, seed=seed)

    def loss(sizes: Sizes) -> float:
        child = shared.cut(replace(sizes, vocabulary_size=None))
        with torch.inference_mode():
            return sum(float(span_loss(child, batch)) for batch in batches)

    return min(candidates, key=loss) if len(candidates) > 1 else candidates[0]


def _unreachable(config: Any, parent: Sizes, settings: AdjustSettings, device: str) -> AdjustError:
    smallest = list(_hidden_steps(config, parent, settings.round_to))[-1]
    narrowest = _widths(smallest, settings.round_to)[0]
    smallest = replace(smallest, layers=smallest.layers[:1], intermediate_size=narrowest)
    if settings.target_speedup is not None:
        flag, wanted = "target-speedup", f"{settings.target_speedup}"
        nearest = math.floor(_speedup(config, smallest, device) * 10) / 10
    else:
        flag, wanted = "target-parameters", f"{settings.target_parameters}"
        nearest = math.ceil(_parameters(config, smallest) * 1000) / 1000
    return AdjustError(
        f"No sizes of this model reach --adjust.{flag} {wanted}.",
        f"The nearest possible: --adjust.{flag} {nearest}.",
    )
