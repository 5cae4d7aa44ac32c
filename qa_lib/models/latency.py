"""The latency of models: forward passes, measured in turns."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from qa_lib.machines import devices
from qa_lib.models.sizes import maximum_length

BATCH, NUM_TOKENS = 1, 384
"""Windows and tokens of the pass by which speed-ups are stated unless said otherwise."""

LATENCY_SHAPES = ((BATCH, NUM_TOKENS), (1, 128), (32, 384), (32, 128))
"""Windows and tokens of the passes that a comparison of models times, the speed-up's first."""

_ROUNDS = range(3, 8)  # turns of each model: as many as fit the budget
_BUDGET_S = 5.0
_TURN_S = 0.05  # duration of one model's turn in a round, at least


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
    from torch.utils.benchmark import Timer

    first = next(iter(models.values()))
    length = min(num_tokens, maximum_length(first.config) or num_tokens)
    tokens = torch.full((batch, length), 5, device=first.device)
    timers = {
        name: Timer(
            "model(tokens)",
            globals={"model": model, "tokens": tokens},
            num_threads=num_threads or torch.get_num_threads(),
        )
        for name, model in models.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode(), devices.as_torch_comes():
        for timer in timers.values():
            timer.timeit(1)  # the first pass pays for allocations
        rough = {name: timer.timeit(1).median for name, timer in timers.items()}
        passes = {name: max(1, round(_TURN_S / once)) for name, once in rough.items()}
        round_s = sum(rough[name] * passes[name] for name in timers)
        rounds = min(max(int(_BUDGET_S / round_s), _ROUNDS[0]), _ROUNDS[-1])
        for _ in range(rounds):
            for name, timer in timers.items():
                seconds[name].append(timer.timeit(passes[name]).median)
    return {name: median(values) for name, values in seconds.items()}
