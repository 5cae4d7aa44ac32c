"""The speed asked for is the speed got: chosen sizes are measured, and solved again until they fit.

Two builds of one shape differ by some percent, as their memory happens to lie. A speed-up is the
median over several builds, each timed in turns with the parent; the lowest and highest of six hold
the true median with 97 % confidence, whatever the distribution: 1 - 2 / 2^6.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from qa_lib.adjust import Sizes
from qa_lib.search.latency_model import LatencyModel, with_width
from qa_lib.search.latency_table import TOLERANCE, measure_builds, run_remotely
from qa_lib.search.space import Choices
from qa_lib.search.target import Target

_NUM_BUILDS = 6
_MOST_SOLUTIONS = 5
_AIM = 1.005  # above the speed asked for, so that the next measurement seldom falls below


@dataclass(frozen=True)
class Speedup:
    """A measured speed-up over the parent.

    Attributes:
        value: Median over builds.
        low: Of the builds, the lowest.
        high: Of the builds, the highest.
    """

    value: float
    low: float
    high: float

    def meets(self, speed: float) -> bool:
        """Say whether it is a speed, or above, within the tolerance."""
        return self.value >= speed * (1 - TOLERANCE)


def measure_speedup(config: Any, target: Target, sizes: Sizes) -> Speedup:
    """Measure sizes in turns with the parent, in a fresh process."""
    parent = Sizes.of(config)
    measure = partial(measure_builds, num_builds=_NUM_BUILDS)
    builds = run_remotely(measure, config, [parent, sizes], target, "whole models")
    ratios = [before / after for before, after in builds]
    return Speedup(*(round(value, 4) for value in (median(ratios), min(ratios), max(ratios))))


def fit(
    sizes: Sizes,
    speed: float,
    latency: LatencyModel,
    choices: Choices,
    measure: Callable[[Sizes], Speedup],
    roughly: float | None = None,
) -> tuple[Sizes, Speedup]:
    """Change the feed-forward width of sizes until they have a speed, measured.

    Args:
        sizes: The choice of a search.
        speed: Asked for; the result has it, to 2 %, or is the nearest that was measured.
        latency: Predicts how the width changes the speed.
        choices: Widths that are possible.
        measure: Measures sizes.
        roughly: The speed-up of these sizes, where some builds of them have been measured.
    """
    found: dict[Sizes, Speedup] = {}
    widths = _widths(choices, sizes)

    def solved(value: float) -> Sizes | None:
        """Return the sizes for the speed, where those of now have this one."""
        factor = value / latency.speedup(sizes)
        return latency.widest(sizes, speed * _AIM, widths, factor=factor)

    if roughly is not None and not speed <= roughly <= speed * (1 + TOLERANCE):
        sizes = solved(roughly) or sizes
    for _ in range(_MOST_SOLUTIONS):
        found[sizes] = measured = measure(sizes)
        print(
            f"{speed:g}x asked, {measured.value:.3f}x measured with feed-forward width"
            f" {sizes.intermediate_size}",
            file=sys.stderr,
            flush=True,
        )
        if speed <= measured.value <= speed * (1 + TOLERANCE):
            break
        between = _between(found, speed, widths)
        again = solved(measured.value) if between is None else with_width(sizes, between)
        if again is None or again in found:
            break
        sizes = again
    return _nearest(found, speed)


def _widths(choices: Choices, sizes: Sizes) -> Sequence[int]:
    """Return the widths that sizes may have: what was named, for layers that are all alike."""
    if not choices.fixed_widths:
        return choices.widths
    return choices.widths if sizes.blocks is None else [sizes.intermediate_size]


def _between(found: dict[Sizes, Speedup], speed: float, widths: Sequence[int]) -> int | None:
    """Return the width that has a speed, by a line between two that were measured on its sides.

    Between the two the latency model may be wrong by any factor.

    Returns:
        The faster one's where no other is between them; None where none was faster and narrower.
    """
    times = {each.intermediate_size: 1 / value.value for each, value in found.items()}
    aim = 1 / (speed * _AIM)
    fast = max((width for width in times if times[width] <= aim), default=None)
    slow = min((width for width in times if times[width] > aim), default=None)
    if fast is None or slow is None or fast > slow:
        return None
    wanted = fast + (slow - fast) * (aim - times[fast]) / (times[slow] - times[fast])
    return max((width for width in widths if width <= wanted), default=None)


def _nearest(found: dict[Sizes, Speedup], speed: float) -> tuple[Sizes, Speedup]:
    """Return the nearest of those that have the speed; else the fastest."""
    met = [each for each in found.items() if each[1].meets(speed)]
    if not met:
        return max(found.items(), key=lambda each: each[1].value)
    return min(met, key=lambda each: abs(each[1].value - speed * _AIM))
