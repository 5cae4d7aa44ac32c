"""Trials of a search as points to draw: what pareto.png and report.html have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

AXES = ("latency of one 384-token window, ms", "F1 on held-out training articles")
"""What the two axes say."""


def groups(trials: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the trials of each rung, from the lowest, the parent by itself.

    Args:
        trials: Rows of trials.parquet.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(trials, key=lambda row: row["rung"]):
        name = "parent" if row["status"] == "parent" else f"rung {row['rung']}"
        found.setdefault(name, []).append(row)
    return found


def front(trials: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Return latencies (ms) and F1 of the trials on the front, from the fastest."""
    points = sorted((row["latency_ms"], row["f1"]) for row in trials if row["on_front"])
    return [latency for latency, _ in points], [f1 for _, f1 in points]
