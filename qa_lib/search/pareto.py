"""The Pareto front of F1 and latency: which models are on it, how others rank, and its picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from qa_lib.runs.run_folder import RunFolder

PARETO = "pareto.png"
AXES = ("latency of one 384-token window, ms", "F1 on held-out training articles")
"""Labels of the two axes, here and in report.html."""

Point = tuple[float, float]
"""F1, and latency in milliseconds."""


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other dominates, from the fastest to the slowest.

    A point dominates another if its F1 is no lower, its latency no higher, and one of the two
    better. Of equal points the first counts.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0], i))
    front: list[int] = []
    for index in order:
        if not front or points[index][0] > points[front[-1]][0]:
            front.append(index)
    return front


def ranking(points: Sequence[Point]) -> list[int]:
    """Return the indices of all points, best first: front by front, the loneliest point first.

    Source: Deb et al. 2002 (NSGA-II), section III: the ends of a front come first, then the points
    whose neighbours on it are farthest apart.
    """
    left = list(range(len(points)))
    ranked: list[int] = []
    while left:
        front = [left[position] for position in non_dominated([points[i] for i in left])]
        distances = _crowding(np.array([points[i] for i in front], float))
        ranked += [front[i] for i in np.argsort(-distances, kind="stable")]
        left = [i for i in left if i not in front]
    return ranked


def _crowding(front: np.ndarray) -> np.ndarray:
    """Return how far apart each point's neighbours are; (points,) of a front sorted by latency."""
    distances = np.zeros(len(front))
    distances[[0, -1]] = np.inf
    spans = np.abs(front[-1] - front[0])
    for column in np.flatnonzero(spans):
        gaps = np.abs(front[2:, column] - front[:-2, column])
        distances[1:-1] += gaps / spans[column]
    return distances


def by_rung(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group rows of trials.parquet by rung, lowest first, with the parent in a group of its own."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["rung"]):
        name = "parent" if row["status"] == "parent" else f"rung {row['rung']}"
        groups.setdefault(name, []).append(row)
    return groups


def front_line(rows: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Return latencies (ms) and F1 of the rows on the front, from the fastest."""
    points = sorted((row["latency_ms"], row["f1"]) for row in rows if row["on_front"])
    return [latency for latency, _ in points], [f1 for _, f1 in points]


def draw(run: RunFolder, rows: Sequence[dict[str, Any]], chosen: int) -> None:
    """Write pareto.png from rows of trials.parquet, with a ring around the chosen trial."""
    from matplotlib.figure import Figure

    scored = [row for row in rows if row["f1"] is not None]
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, group in by_rung(scored).items():
        x, y = [row["latency_ms"] for row in group], [row["f1"] for row in group]
        axes.scatter(x, y, label=name, marker="s" if name == "parent" else "o")
    axes.plot(*front_line(scored), color="black", linewidth=1, label="front", zorder=0)
    best = next(row for row in scored if row["trial"] == chosen)
    axes.scatter(
        best["latency_ms"],
        best["f1"],
        s=180,
        facecolors="none",
        edgecolors="black",
        label=f"chosen: trial {chosen}, {best['speedup']:.2f}x",
    )
    axes.set_xlabel(AXES[0])
    axes.set_ylabel(AXES[1])
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    run.write_bytes(PARETO, picture.getvalue())
