"""Which of several models are worth keeping: high F1, low latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]
"""F1, and latency in milliseconds."""


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other one beats, from the fastest to the slowest.

    A point beats another where its F1 is no lower, its latency no higher, and one of the two
    better. Of equal points the first counts.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0], i))
    front: list[int] = []
    for index in order:
        if not front or points[index][0] > points[front[-1]][0]:
            front.append(index)
    return front


def ranking(points: Sequence[Point]) -> list[int]:
    """Return the indices of all points, the best first: front by front, the loneliest first.

    Source: Deb et al. 2002 (NSGA-II), section III: the ends of a front come first, then the points
    whose neighbours in it are farthest apart.
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
    """Return how far each point's neighbours are apart; (points,) of a front sorted by latency."""
    distances = np.zeros(len(front))
    distances[[0, -1]] = np.inf
    spans = np.abs(front[-1] - front[0])
    for column in np.flatnonzero(spans):
        gaps = np.abs(front[2:, column] - front[:-2, column])
        distances[1:-1] += gaps / spans[column]
    return distances
