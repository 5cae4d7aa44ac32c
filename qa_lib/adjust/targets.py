"""Sizes found for a target: so many times the parent's speed, or so much of its parameters.

Sizes that reach the target are compared by the loss right after surgery on the calibration windows,
except that the residual stream is cut only where nothing else reaches the target: it is the dearest
of all to lose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_lib.adjust import cost
from qa_lib.adjust.calibrate import Batch, span_loss
from qa_lib.adjust.planning import make_plan
from qa_lib.adjust.sizes import Sizes, is_expressible, resolve
from qa_lib.adjust.surgery import apply
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qa_lib.config import AdjustSettings

_NARROWEST = 8  # no feed-forward part below an eighth of the parent's


def find(
    model: PreTrainedModel, settings: AdjustSettings, batches: Sequence[Batch], *, seed: int = 0
) -> Sizes:
    """Find the sizes for the settings' targets; sizes that the settings give stay as given.

    Args:
        model: The parent, in evaluation mode.
        settings: With a target.
        batches: Calibration windows.
        seed: Of `random` importance.

    Raises:
        AdjustError: No sizes reach the target; the nearest that can be reached is named.
    """
    start = resolve(model.config, settings)
    reaches = _reaches(model.config, settings)
    for hidden in _hidden_steps(model.config, settings, start):
        candidates = [
            sized
            for layers in _layer_steps(settings, hidden)
            if (sized := _widest(replace(hidden, layers=layers), settings, reaches)) is not None
        ]
        if candidates:
            losses = [_loss(model, sizes, settings, batches, seed) for sizes in candidates]
            return candidates[losses.index(min(losses))]
    raise _unreachable(model.config, settings, start)


def _reaches(config: Any, settings: AdjustSettings) -> Callable[[Sizes], bool]:
    """Return the test of whether sizes meet the targets."""
    parameters, speedup = settings.target_parameters, settings.target_speedup

    def reaches(sizes: Sizes) -> bool:
        if parameters is not None and _parameters(config, sizes) > parameters:
            return False
        return speedup is None or _speedup(config, sizes) >= speedup

    return reaches


def _parameters(config: Any, sizes: Sizes) -> float:
    """Return the fraction of the parent's parameters."""
    return cost.num_parameters(sizes.apply(config)) / cost.num_parameters(config)


def _speedup(config: Any, sizes: Sizes) -> float:
    """Return how many times the parent's speed the model is predicted to have."""
    return cost.predict_latency(config) / cost.predict_latency(sizes.apply(config))


def _widest(
    sizes: Sizes, settings: AdjustSettings, reaches: Callable[[Sizes], bool]
) -> Sizes | None:
    """Return the sizes with the widest intermediate part that reaches the target, or None."""
    if settings.intermediate_size is not None:
        return sizes if reaches(sizes) else None
    step = min(settings.round_to, sizes.intermediate_size)
    widths = range(step, sizes.intermediate_size + 1, step)
    low, high = max(0, len(widths) // _NARROWEST - 1), len(widths) - 1
    if not reaches(replace(sizes, intermediate_size=widths[low])):
        return None
    while low < high:  # the narrower, the faster and the smaller
        middle = (low + high + 1) // 2
        if reaches(replace(sizes, intermediate_size=widths[middle])):
            low = middle
        else:
            high = middle - 1
    return replace(sizes, intermediate_size=widths[low])


def _layer_steps(settings: AdjustSettings, start: Sizes) -> Iterator[tuple[int, ...]]:
    given = settings.num_layers is not None or settings.keep_layers is not None
    fewest = len(start.layers) if given else 1
    for count in range(len(start.layers), fewest - 1, -1):
        yield start.layers[:count]


def _hidden_steps(config: Any, settings: AdjustSettings, start: Sizes) -> Iterator[Sizes]:
    """Yield ever smaller residual streams, a head at a time, unless the settings give one."""
    fewest = start.num_heads if settings.hidden_size is not None else 1
    for heads in range(start.num_heads, fewest - 1, -1):
        sizes = replace(start, hidden_size=heads * start.head_size, num_heads=heads)
        if sizes.hidden_size % settings.round_to == 0 or heads == start.num_heads:
            if is_expressible(config, sizes):
                yield sizes


def _loss(
    model: PreTrainedModel,
    sizes: Sizes,
    settings: AdjustSettings,
    batches: Sequence[Batch],
    seed: int,
) -> float:
    """Return the loss on the calibration windows right after surgery."""
    import torch

    plan = make_plan(
        model,
        sizes,
        batches,
        parent_sha256="",
        method=settings.importance,
        folds=settings.fold,
        seed=seed,
    )
    child = apply(model, plan)
    with torch.inference_mode():
        return sum(float(span_loss(child, batch)) for batch in batches)


def _unreachable(config: Any, settings: AdjustSettings, start: Sizes) -> AdjustError:
    smallest = list(_hidden_steps(config, settings, start))[-1]
    smallest = replace(smallest, layers=list(_layer_steps(settings, smallest))[-1])
    if settings.intermediate_size is None:
        narrowest = max(1, smallest.intermediate_size // _NARROWEST)
        smallest = replace(smallest, intermediate_size=narrowest)
    wanted, nearest = [], []
    if settings.target_speedup is not None:
        wanted.append(f"--adjust.target-speedup {settings.target_speedup}")
        nearest.append(f"--adjust.target-speedup {int(_speedup(config, smallest) * 10) / 10}")
    if settings.target_parameters is not None:
        wanted.append(f"--adjust.target-parameters {settings.target_parameters}")
        reached = math.ceil(_parameters(config, smallest) * 1000) / 1000
        nearest.append(f"--adjust.target-parameters {reached}")
    return AdjustError(
        f"No sizes of this model reach {' with '.join(wanted)} within the other settings.",
        f"The nearest that can be reached: {' '.join(nearest)}.",
    )
