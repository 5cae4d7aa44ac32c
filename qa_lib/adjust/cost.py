"""What a model costs: parameters, floating-point operations, latency."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from statistics import median
from typing import Any, NamedTuple

from qa_lib.adjust.architecture import shapes_of, with_layers, with_vocabulary
from qa_lib.machines import devices
from qa_lib.models import build, maximum_length
from qa_lib.models.ragged import blocks_of

BATCH, NUM_TOKENS = 1, 384  # where speed-ups are stated unless said otherwise
LATENCY_SHAPES = ((1, 384), (1, 128), (32, 384), (32, 128))
"""Windows and tokens of the passes that a comparison of models times, the speed-up's first."""

_ROUNDS = range(3, 8)  # turns of each model: as many as fit the budget
_BUDGET_S = 5.0
_BLOCK_S = 0.05  # one model's turn within a round, at least
_SMALL_VOCABULARY = 1024  # looking up a token costs the same in a table of any height
_STEM, _STACK = 0, 2  # layers of the two models whose latencies tell a layer's from the rest's
_AT_ONCE = 16  # shapes measured in turns: 1.6 GB of layers as large as BERT-large's


class _Shape(NamedTuple):
    """A layer as it runs on a device: that of a model with `_STACK` such layers."""

    config_class: Any
    config: str  # JSON
    device: str


_measured: dict[_Shape, tuple[float, float]] = {}  # of the process: seconds of stem, of a layer


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


def predict_latencies(configs: Sequence[Any], device: str = "cpu") -> list[float]:
    """Return each model's seconds for one 384-token window, from the measured latency of a layer.

    A layer of each shape that the configurations have is measured once in a process, on random
    weights, and counted as often as a configuration has such layers. Shapes are measured in turns,
    so that a busy moment hits all of them.

    Args:
        configs: Of models with as many positions; in a search, all that are to be compared.
        device: cpu (float32) or cuda (float16).
    """
    shapes = [
        [_shape(config, index, device) for index in range(config.num_hidden_layers)]
        for config in configs
    ]
    new = [shape for shape in dict.fromkeys(chain(*shapes)) if shape not in _measured]
    for first in range(0, len(new), _AT_ONCE):
        _measured.update(_measure(new[first : first + _AT_ONCE]))
    parts = [[_measured[shape] for shape in of_one] for of_one in shapes]
    return [median(stem for stem, _ in each) + sum(layer for _, layer in each) for each in parts]


def _shape(config: Any, index: int, device: str) -> _Shape:
    """Return the shape of one layer."""
    layers = [index] * _STACK if blocks_of(config) else _repeated(config, _STACK)
    small = with_vocabulary(with_layers(config, layers), min(config.vocab_size, _SMALL_VOCABULARY))
    return _Shape(config.__class__, small.to_json_string(use_diff=False), device)


def _repeated(config: Any, count: int) -> list[int]:
    """Return the first layers, over again where there are fewer."""
    return [index % config.num_hidden_layers for index in range(count)]


def _measure(shapes: Sequence[_Shape]) -> dict[_Shape, tuple[float, float]]:
    """Measure the seconds of everything but the layers, and of one layer, of each shape."""
    import torch

    models = {}
    with torch.random.fork_rng(devices=[]):
        for number, shape in enumerate(shapes):
            config = shape.config_class.from_dict(json.loads(shape.config))
            for count in (_STEM, _STACK):
                model = build(with_layers(config, _repeated(config, count))).eval()
                if shape.device == "cuda":
                    model = model.half().to("cuda")
                models[f"{number} {count}"] = model
    seconds = measure_latency(models)
    found = {}
    for number, shape in enumerate(shapes):
        stem, stack = (seconds[f"{number} {count}"] for count in (_STEM, _STACK))
        found[shape] = stem, max(0.0, stack - stem) / _STACK
    return found
