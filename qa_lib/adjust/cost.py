"""What a model of given sizes costs: parameters, floating-point operations, predicted latency."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import chain
from math import prod
from statistics import median
from typing import Any, NamedTuple

from qa_lib.adjust.architecture import shapes_of, with_layers, with_vocabulary
from qa_lib.models import build, maximum_length
from qa_lib.models.latency import NUM_TOKENS, measure_latency
from qa_lib.models.ragged import blocks_of

_SMALL_VOCABULARY = 1024  # looking up a token costs the same in a table of any height
_NUM_LAYERS = 2  # of the model that is compared with one without layers to time a layer
_AT_ONCE = 16  # shapes measured in turns: 1.6 GB of layers as large as BERT-large's


class _LayerShape(NamedTuple):
    """A layer as it runs on a device: the configuration of a model with `_NUM_LAYERS` of it."""

    config_class: Any
    config: str  # JSON
    device: str


_measured: dict[_LayerShape, tuple[float, float]] = {}  # seconds: all but the layers; one layer


def num_parameters(config: Any) -> int:
    """Count the parameters of the question-answering model that a configuration describes."""
    return sum(prod(shape) for shape in shapes_of(config).values())


def num_flops(config: Any, num_tokens: int = NUM_TOKENS) -> int:
    """Count the floating-point operations of one window's forward pass (2 per multiply-add)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    length = min(num_tokens, maximum_length(config) or num_tokens)
    with torch.device("meta"):
        # The counter hooks tensors that need a gradient, and a dropped block's constant has none.
        model = build(config).eval().requires_grad_(False)
        tokens = torch.ones((1, length), dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(tokens)
    return int(counter.get_total_flops())


def predict_latencies(
    configs: Sequence[Any],
    device: str = "cpu",
    place: Callable[[Any], Any] | None = None,
) -> list[float]:
    """Return each model's seconds for one 384-token window, from the measured latency of a layer.

    A layer of each shape in the configurations is measured once in a process, on random weights,
    and counted as often as a configuration has such layers. Shapes are measured in turns, so that a
    busy moment hits all of them.

    Args:
        configs: Of models with equally many positions; in a search, all that are to be compared.
        device: cpu (float32) or cuda (float16), or a name for where `place` puts models.
        place: Turns a model on the CPU into what is timed, where it does not run in PyTorch.
    """
    shapes = [
        [_shape(config, index, device) for index in range(config.num_hidden_layers)]
        for config in configs
    ]
    new = [shape for shape in dict.fromkeys(chain(*shapes)) if shape not in _measured]
    for first in range(0, len(new), _AT_ONCE):
        _measured.update(_measure(new[first : first + _AT_ONCE], place))
    seconds = [[_measured[shape] for shape in layers] for layers in shapes]
    return [median(rest for rest, _ in each) + sum(layer for _, layer in each) for each in seconds]


def _shape(config: Any, index: int, device: str) -> _LayerShape:
    """Return the shape of one layer."""
    stock = blocks_of(config) is None
    layers = _repeated(config, _NUM_LAYERS) if stock else [index] * _NUM_LAYERS
    small = with_vocabulary(with_layers(config, layers), min(config.vocab_size, _SMALL_VOCABULARY))
    return _LayerShape(config.__class__, small.to_json_string(use_diff=False), device)


def _repeated(config: Any, count: int) -> list[int]:
    """Return the first layers, over again where there are fewer."""
    return [index % config.num_hidden_layers for index in range(count)]


def _measure(
    shapes: Sequence[_LayerShape], place: Callable[[Any], Any] | None
) -> dict[_LayerShape, tuple[float, float]]:
    """Measure the seconds of everything but the layers, and of one layer, of each shape."""
    import torch

    models = {}
    with torch.random.fork_rng(devices=[]):
        for number, shape in enumerate(shapes):
            config = shape.config_class.from_dict(json.loads(shape.config))
            for count in (0, _NUM_LAYERS):
                model = build(with_layers(config, _repeated(config, count))).eval()
                if shape.device == "cuda":
                    model = model.half().to("cuda")
                elif place is not None:
                    model = place(model)
                models[f"{number} {count}"] = model
    seconds = measure_latency(models)
    measured = {}
    for number, shape in enumerate(shapes):
        bare, stacked = (seconds[f"{number} {count}"] for count in (0, _NUM_LAYERS))
        measured[shape] = bare, max(0.0, stacked - bare) / _NUM_LAYERS
    return measured
