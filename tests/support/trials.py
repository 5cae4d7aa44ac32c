"""Sizes, table entries and trials of a search, made by hand."""

from __future__ import annotations

from typing import Any

from qa_lib.adjust import Sizes
from qa_lib.config import SearchSettings
from qa_lib.search.halving import Outcome, Trial
from qa_lib.search.latency_table import Entry
from qa_lib.search.space import Setting

PARENT = Sizes((0, 1, 2), 32, 4, 24)
BATCH = 8


def sizes(layers: int = 3, hidden: int = 32, inner: int = 24) -> Sizes:
    return Sizes(tuple(range(layers)), hidden, hidden // 8, inner)


def entry(sizes: Sizes, latency_ms: float) -> Entry:
    return Entry(sizes, latency_ms, round(12.0 / latency_ms, 3), num_parameters=1000)


def trial(
    number: int,
    *f1: float,
    latency_ms: float = 10.0,
    error: str | None = None,
    layers: int = 2,
) -> Trial:
    setting = Setting(sizes(layers), "taylor", 1e-4 * number, 0.5)
    outcomes = [Outcome(value, 100 * rung, 1.0) for rung, value in enumerate(f1)]
    return Trial(number, setting, latency_ms, 12.0 / latency_ms, 1000, outcomes, error)


def settings(**values: Any) -> SearchSettings:
    return SearchSettings(**{"trial_windows": 320, "objective": "f1"} | values)
