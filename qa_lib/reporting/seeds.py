"""Runs that differ in their seed alone: how far their scores spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """How far a score spreads over seeds.

    Attributes:
        mean: Over the seeds.
        deviation: Standard deviation of one run, from n - 1; 0 for one run.
        low: Lower end of the 95 % interval of the mean; the mean itself for one run.
        high: Its upper end.
    """

    mean: float
    deviation: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of a score over seeds.

    Source:
        Student 1908: with few runs, t with n - 1 degrees of freedom takes the place of 1.96.
    """
    from scipy import stats  # takes a second

    mean, num_runs = statistics.mean(values), len(values)
    if num_runs == 1:
        return Spread(mean, 0.0, mean, mean)
    deviation = statistics.stdev(values)
    half = float(stats.t.ppf(0.975, num_runs - 1)) * deviation / math.sqrt(num_runs)
    return Spread(mean, deviation, mean - half, mean + half)


def table(results: Mapping[int, Mapping[str, Any]]) -> str:
    """Return a table of runs by seed, with mean, standard deviation and interval.

    Args:
        results: Each run's result.json by its seed; runs without scores show their time alone.
    """
    names = [name for name in ("f1", "em") if all(name in each for each in results.values())]
    heads = [name.upper() for name in names]
    rows = [["seed", *heads, "seconds", "run"]]
    for seed, result in results.items():
        scores = [f"{result[name]:.2f}" for name in names]
        rows.append([str(seed), *scores, f"{result['seconds']:.0f}", str(result["run_name"])])
    spreads = [spread([result[name] for result in results.values()]) for name in names]
    if spreads:
        rows.append(["mean", *(f"{each.mean:.2f}" for each in spreads)])
        rows.append(["standard deviation", *(f"{each.deviation:.2f}" for each in spreads)])
        rows.append(["95 % of the mean, from", *(f"{each.low:.2f}" for each in spreads)])
        rows.append(["to", *(f"{each.high:.2f}" for each in spreads)])
    return "\n".join(_line(row) for row in rows)


def _line(cells: list[str]) -> str:
    first, *rest = cells
    return "  ".join([f"{first:<22}", *(f"{cell:>7}" for cell in rest)]).rstrip()
