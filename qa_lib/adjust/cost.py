"""What a model costs: parameters, floating-point operations, latency."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from statistics import median
from typing import Any

from qa_lib import devices
from qa_lib.adjust.architecture import shapes_of, with_layers, with_vocabulary
from qa_lib.model import build, maximum_length
from qa_lib.ragged import blocks_of

BATCH, NUM_TOKENS = 1, 384  # where speed-ups are stated unless said otherwise
LATENCY_SHAPES = ((1, 384), (1, 128), (32, 384), (32, 128))
"""Windows and tokens of the passes that a comparison of models times, the speed-up's first."""

_ROUNDS = range(3, 8)  # turns of each model: as many as fit the budget
_BUDGET_S = 5.0
_BLOCK_S = 0.05  # one model's turn within a round, at least
_SMALL_VOCABULARY = 1024  # looking up a token costs the same in a table of any height
_STEM, _STACK = 0, 2  # layers of the two models whose latencies tell a layer's from the rest's


def num_parameters(config: Any) -> int:
    """Count the parameters of the question-answering model that a configuration describes."""
    return sum(prod(shape) for shape in shapes_of(config).values())


def num_flops(config: Any, num_tokens: int = NUM_TOKENS) -> int:
    """Count the floating-point operations of one window's forward pass (2 per multiply-add)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    length = min(num_tokens, maximum_length(config) or num_tokens)
    with torch.device("meta"):
        # The counter hooks what asks for a gradient, which a dropped block's constant cannot give.
        model = build(config).eval().requires_grad_(False)
        tokens = torch.ones((1, length), dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens)
    return int(counter.get_total_flops())


def measure_latency(
    models: Mapping[str, Any],
    *,
    batch: int = BATCH,
    num_tokens: int = NUM_TOKENS,
    num_threads: int | None = None,
) -> dict[str, float]:
    """Time forward passes of several models in turns, so that a busy moment hits all of them.

    Args:
        models: Transformers models in evaluation mode, or what is called as they are; all on one
            device.
        batch: Windows in a pass.
        num_tokens: Tokens of each window, or as many as the models have positions for.
        num_threads: Of torch; its own setting where None.

    Returns:
        Median seconds for a pass, by name.
    """
    import torch
    from torch.utils.benchmark import Timer

    some = next(iter(models.values()))
    length = min(num_tokens, maximum_length(some.config) or num_tokens)
    tokens = torch.full((batch, length), 5, device=some.device)
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
        numbers = {name: max(1, round(_BLOCK_S / once)) for name, once in rough.items()}
        round_s = sum(rough[name] * numbers[name] for name in timers)
        rounds = min(max(int(_BUDGET_S / round_s), _ROUNDS[0]), _ROUNDS[-1])
        for _ in range(rounds):
            for name, timer in timers.items():
                seconds[name].append(timer.timeit(numbers[name]).median)
    return {name: median(values) for name, values in seconds.items()}


def predict_latency(config: Any, device: str = "cpu") -> float:
    """Return the seconds of a pass of one 384-token window, from the measured latency of a layer.

    A layer of each shape that the configuration has is measured once in a process, on random
    weights, and counted as often as the configuration has such layers.

    Args:
        config: Of the model.
        device: cpu (float32) or cuda (float16).
    """
    shapes = [_shape(config, index) for index in range(config.num_hidden_layers)]
    parts = [_parts(config.__class__, shape, device) for shape in shapes]
    return median(stem for stem, _ in parts) + sum(layer for _, layer in parts)


def _shape(config: Any, index: int) -> str:
    """Describe a model of `_STACK` layers as wide as this one."""
    layers = [index] * _STACK if blocks_of(config) else _repeated(config, _STACK)
    return str(
        with_vocabulary(
            with_layers(config, layers),
            min(config.vocab_size, _SMALL_VOCABULARY),
        ).to_json_string(use_diff=False)
    )


def _repeated(config: Any, count: int) -> list[int]:
    """Return the first layers, over again where there are fewer."""
    return [index % config.num_hidden_layers for index in range(count)]


@lru_cache(maxsize=256)
def _parts(config_class: Any, shape: str, device: str) -> tuple[float, float]:
    """Measure the seconds of everything but the layers, and of one layer."""
    import json

    import torch

    config = config_class.from_dict(json.loads(shape))
    with torch.random.fork_rng(devices=[]):
        models = {
            str(count): build(with_layers(config, _repeated(config, count))).eval()
            for count in (_STEM, _STACK)
        }
    if device == "cuda":
        models = {count: model.half().to(device) for count, model in models.items()}
    seconds = measure_latency(models)
    stem = seconds[str(_STEM)]
    return stem, max(0.0, seconds[str(_STACK)] - stem) / _STACK
