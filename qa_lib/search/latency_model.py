"""The latency of any sizes, from layers measured at a few widths.

A model's time is that of its layers and of all else. Layers are measured alone, at some widths, and
interpolated; those of one residual stream in one part of the measurement, while the machine may be
faster or slower than in another. Whole models in turns with the parent tell a factor for each
stream. What is left, some percent, the search measures for the models it chooses.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np

from qa_lib.adjust import Sizes
from qa_lib.models.ragged import Blocks
from qa_lib.search.latency_table import predict, run_remotely
from qa_lib.search.target import Target

Stream = tuple[int, int]  # hidden size and heads of a stock layer
_WIDTHS = (0.0625, 0.25, 0.5, 0.75, 1.0)  # measured, of the parent's feed-forward width
_ALIGNED = 64
_LEAST_MS = 1e-3  # of all but the layers: differences of times are noisy in tiny models


@dataclass(frozen=True)
class Point:
    """The milliseconds of a layer: of a stream's heads `num_kept` are there, and `width` units."""

    hidden_size: int
    num_heads: int
    num_kept: int
    width: int
    ms: float


@dataclass(frozen=True)
class LatencyModel:
    """Milliseconds of a window of 384 tokens, by sizes.

    Attributes:
        parent: The parent's sizes.
        points: Measured layers.
        rest: Milliseconds of all but the layers, by stream.
        factors: By stream, how many times as long whole models take beside the parent; those of
            other streams take as many times as long as these on average.
    """

    parent: Sizes
    points: tuple[Point, ...]
    rest: tuple[tuple[Stream, float], ...]
    factors: tuple[tuple[Stream, float], ...] = ()

    def ms(self, sizes: Sizes) -> float:
        """Return the milliseconds of a model."""
        sum_ms = self.sum_ms(sizes)
        return sum_ms if sizes == self.parent else self._factor(_stream(sizes)) * sum_ms

    def sum_ms(self, sizes: Sizes) -> float:
        """Return the milliseconds of a model's layers and all else, as measured one by one."""
        stream = _stream(sizes)
        kinds = Counter(sizes.of_layer(place) for place in range(len(sizes.layers)))
        layers = sum(count * self.layer_ms(stream, *kind) for kind, count in kinds.items())
        return dict(self.rest)[stream] + layers

    def most_sum_ms(self, sizes: Sizes, speed: float) -> float:
        """Return the most that `sum_ms` may be for a speed, of a model with the stream of sizes."""
        return self.ms(self.parent) / speed / self._factor(_stream(sizes))

    def speedup(self, sizes: Sizes) -> float:
        """Return how many times the parent's speed a model has."""
        return self.ms(self.parent) / self.ms(sizes)

    def layer_ms(self, stream: Stream, num_kept: int, width: int) -> float:
        """Return the milliseconds of a layer; heads and units save time independently."""
        saved = 0.0
        if num_kept != stream[1]:
            by_heads = self._line(stream, "num_kept", self.parent.intermediate_size)
            saved = np.interp(stream[1], *by_heads) - np.interp(num_kept, *by_heads)
        by_width = self._line(stream, "width", stream[1])
        return max(0.0, float(np.interp(width, *by_width) - saved))

    def widest(
        self, sizes: Sizes, speed: float, widths: Sequence[int], *, factor: float = 1.0
    ) -> Sizes | None:
        """Return the sizes with the widest feed-forward parts that reach a speed, or None.

        Args:
            sizes: Layers and stream; of a ragged model widths shrink in proportion.
            speed: Times the parent's.
            widths: Of the feed-forward parts, ascending; of a ragged model of the widest.
            factor: Measured speed of such a model, as a multiple of the predicted one.
        """
        low, high = 0, len(widths) - 1
        if self.speedup(with_width(sizes, widths[low])) * factor < speed:
            return None
        while low < high:  # the narrower, the faster
            middle = (low + high + 1) // 2
            is_fast = self.speedup(with_width(sizes, widths[middle])) * factor >= speed
            low, high = (middle, high) if is_fast else (low, middle - 1)
        return with_width(sizes, widths[low])

    def fitted(self, sizes: Sequence[Sizes], speedups: Sequence[float]) -> LatencyModel:
        """Return the model with the factors that whole models of some sizes and speed-ups show."""
        logs: dict[Stream, list[float]] = {}
        plain = replace(self, factors=())
        for one, stated in zip(sizes, speedups, strict=True):
            logs.setdefault(_stream(one), []).append(math.log(plain.speedup(one) / stated))
        factors = tuple((stream, math.exp(fmean(of_one))) for stream, of_one in logs.items())
        return replace(self, factors=factors)

    def row(self) -> dict[str, Any]:
        """Return plain values for `from_row`."""
        return asdict(self)

    @classmethod
    def from_row(cls, values: dict[str, Any]) -> LatencyModel:
        """Rebuild a model from `row`, also after a round trip through JSON."""
        return cls(
            Sizes.from_dict(values["parent"]),
            tuple(Point(**point) for point in values["points"]),
            # Journals of before have a factor on all but the layers.
            tuple((tuple(key), ms * values.get("overhead", 1.0)) for key, ms in values["rest"]),
            tuple((tuple(key), factor) for key, factor in values.get("factors", ())),
        )

    def _factor(self, stream: Stream) -> float:
        if not self.factors:
            return 1.0
        factors = dict(self.factors)
        return factors.get(stream, math.exp(fmean(map(math.log, factors.values()))))

    def _line(self, stream: Stream, axis: str, fixed: int) -> tuple[list[int], list[float]]:
        return _line(self.points, stream, axis, fixed)


def _stream(sizes: Sizes) -> Stream:
    return sizes.hidden_size, sizes.num_heads


@lru_cache(maxsize=256)
def _line(
    points: tuple[Point, ...], stream: Stream, axis: str, fixed: int
) -> tuple[list[int], list[float]]:
    """Return values of an axis, and milliseconds that do not fall along it.

    Neighbours that fall are noise: both get their mean.
    """
    other = "width" if axis == "num_kept" else "num_kept"
    line = sorted(
        (getattr(point, axis), point.ms)
        for point in points
        if (point.hidden_size, point.num_heads) == stream and getattr(point, other) == fixed
    )
    blocks: list[tuple[float, int]] = []  # mean milliseconds of points, and how many
    for _, ms in line:
        blocks.append((ms, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, count), (two, more) = blocks[-2:]
            blocks[-2:] = [((one * count + two * more) / (count + more), count + more)]
    return [place for place, _ in line], [ms for ms, count in blocks for _ in range(count)]


def with_width(sizes: Sizes, width: int) -> Sizes:
    """Return sizes with another feed-forward width; of a ragged model that of its widest layer."""
    if sizes.blocks is None:
        return replace(sizes, intermediate_size=width)
    share = width / sizes.intermediate_size
    widths = [
        min(width, round(each * share / 8) * 8 or 8) if each else 0
        for each in sizes.blocks.intermediate_size
    ]
    blocks = replace(sizes.blocks, intermediate_size=tuple(widths))
    return replace(sizes, intermediate_size=max(widths), blocks=blocks)


def measure(
    config: Any, streams: Sequence[Sizes], target: Target, *, ragged: bool = False
) -> LatencyModel:
    """Measure layers on the target, where trials run.

    Args:
        config: The parent's configuration.
        streams: The parent's sizes with each width of the residual stream.
        target: What to measure on.
        ragged: Whether layers with fewer heads are measured too.
    """
    parent = Sizes.of(config)
    whole = parent.intermediate_size
    widths = {max(1, min(whole, round(whole * part / _ALIGNED) * _ALIGNED)) for part in _WIDTHS}
    shapes = [
        (stream, stream.num_heads, width)
        for stream, width in product(_distinct(parent, streams), sorted(widths | {whole}))
    ]
    if ragged:
        stream = replace(parent, layers=(0,))
        shapes += [
            (stream, heads, whole) for heads in head_steps(parent) if heads < stream.num_heads
        ]
        shapes.append((stream, stream.num_heads, 0))
    sizes = [_stack(*shape, count) for shape in shapes for count in (1, 2)]
    ms = run_remotely(predict, config, sizes, target, "stacks of layers")
    points: list[Point] = []
    rest: dict[Stream, list[float]] = {}
    for number, (stream, heads, width) in enumerate(shapes):
        one, two = ms[2 * number], ms[2 * number + 1]
        key = stream.hidden_size, stream.num_heads
        points.append(Point(*key, heads, width, max(0.0, two - one)))
        rest.setdefault(key, []).append(2 * one - two)
    medians = tuple((key, max(_LEAST_MS, float(np.median(ms)))) for key, ms in rest.items())
    return LatencyModel(parent, tuple(points), medians)


def head_steps(parent: Sizes) -> list[int]:
    """Return the numbers of heads that a ragged layer may keep, ascending from none to all."""
    step = max(1, parent.num_heads // 6)
    return sorted({0, parent.num_heads, *range(step, parent.num_heads, step)})


def calibrated(
    model: LatencyModel,
    anchors: Sequence[Sizes],
    measure_whole: Callable[[list[Sizes]], list[float]],
) -> LatencyModel:
    """Fit the factors of streams to whole models.

    Args:
        model: Of `measure`.
        anchors: Sizes near the speeds that are searched.
        measure_whole: Milliseconds of whole models, measured side by side.
    """
    parent, *others = measure_whole([model.parent, *anchors])
    fitted = model.fitted(list(anchors), [parent / ms for ms in others])
    told = ", ".join(f"{factor:.2f} ({hidden} wide)" for (hidden, _), factor in fitted.factors)
    print(f"whole models take so many times as long as their layers say: {told}", file=sys.stderr)
    return fitted


def _distinct(parent: Sizes, streams: Sequence[Sizes]) -> list[Sizes]:
    """Return a one-layer model of every stream, the parent's first."""
    every = dict.fromkeys((one.hidden_size, one.num_heads) for one in (parent, *streams))
    return [Sizes((0,), hidden, heads, parent.intermediate_size) for hidden, heads in every]


def _stack(stream: Sizes, num_kept: int, width: int, count: int) -> Sizes:
    """Return a model of some layers of one shape."""
    sizes = replace(
        stream, layers=(0,) * count, intermediate_size=width or stream.intermediate_size
    )
    if num_kept == stream.num_heads and width:
        return sizes
    return replace(sizes, blocks=Blocks((num_kept,) * count, (width,) * count))
