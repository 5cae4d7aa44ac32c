"""The latency of models: forward passes, measured in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from qa_lib.machines import devices
from qa_lib.models.sizes import maximum_length

if TYPE_CHECKING:
    import torch

    from qa_lib.config import TrainSettings

BATCH, NUM_TOKENS = 1, 384
"""Windows and tokens of the pass by which speed-ups are stated unless said otherwise."""

LATENCY_SHAPES = ((BATCH, NUM_TOKENS), (1, 128), (32, 384), (32, 128))
"""Windows and tokens of the passes that a comparison of models times, the speed-up's first."""

_ROUNDS = range(3, 8)  # turns of each model: as many as fit the budget
_BUDGET_S = 5.0
_MOST_ROUND_S = 3.0  # of all models in turn; with the first passes four such rounds a shape
_TURN_S = 0.05  # duration of one model's turn in a round, at least


def latency_device(train: TrainSettings) -> str:
    """Return the device whose latencies count: cuda (float16) where models are trained on one."""
    import torch

    return "cuda" if train.device != "cpu" and torch.cuda.is_available() else "cpu"


def measure_latency(
    models: Mapping[str, Any],
    *,
    batch: int = BATCH,
    num_tokens: int = NUM_TOKENS,
    num_threads: int | None = None,
) -> dict[str, float]:
    """Time forward passes of several models in turns, so that a busy moment hits all of them.

    Args:
        models: Transformers models in evaluation mode, or callables with their `config` and
            `device`; all on one device.
        batch: Windows in a pass.
        num_tokens: Tokens of each window, or as many as the models have positions for.
        num_threads: Threads of torch; its own setting where None.

    Returns:
        Median seconds for a pass, by name.
    """
    import torch

    first = next(iter(models.values()))
    length = min(num_tokens, maximum_length(first.config) or num_tokens)
    tokens = torch.full((batch, length), 5, device=first.device)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode(), devices.as_torch_comes(), _threads(num_threads):
        rough = {name: _seconds_of_pass(model, tokens) for name, model in models.items()}
        if sum(rough.values()) < _MOST_ROUND_S / 2:  # the first pass also pays for allocations
            rough = {name: _seconds_of_pass(model, tokens) for name, model in models.items()}
        passes = {name: max(1, round(_TURN_S / once)) for name, once in rough.items()}
        round_s = sum(rough[name] * passes[name] for name in models)
        rounds = min(max(int(_BUDGET_S / round_s), _ROUNDS[0]), _ROUNDS[-1])
        for _ in range(rounds):
            for name, model in models.items():
                seconds[name].append(_seconds_of_pass(model, tokens, passes[name]))
    return {name: median(values) for name, values in seconds.items()}


def _seconds_of_pass(model: Any, tokens: torch.Tensor, num_passes: int = 1) -> float:
    """Return the mean seconds of some passes; before several, one fills the caches again.

    torch's own Timer takes two passes more before each measurement: minutes of a slow model.
    """
    import torch

    def finish() -> float:
        if tokens.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    if num_passes > 1:
        model(tokens)
    started = finish()
    for _ in range(num_passes):
        model(tokens)
    return (finish() - started) / num_passes


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def affordable(num_windows: int, one: Mapping[str, float] | None) -> int:
    """Return how many windows a pass may have, so that all shapes take a minute at most.

    Args:
        num_windows: Wanted.
        one: Seconds of each model for one window of as many tokens; None wants no limit.

    Returns:
        The wanted number, or the largest power of two below whose passes are short enough.
    """
    if one is None or num_windows * sum(one.values()) <= _MOST_ROUND_S:
        return num_windows
    return 1 << max(0, int(math.log2(_MOST_ROUND_S / sum(one.values()))))
