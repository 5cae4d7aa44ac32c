"""How sure a mean score is, and whether two systems differ: both resampled by article.

Questions of one article succeed and fail together, so the article is what is drawn. Where all
questions share one title there is nothing to draw from, and the question takes its place; that
makes intervals too narrow, and is said by `unit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qa_lib.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_RESAMPLES = 2_000
NUM_SIGN_FLIPS = 10_000
LEVEL = 0.95
_MOST_EXACT = 16  # articles up to which every assignment of signs is tried: 65,536
_CELLS_AT_A_TIME = 4_000_000

Unit = Literal["article", "question"]


@dataclass(frozen=True)
class Comparison:
    """How a second system differs from a first, on the questions that both have a score for.

    Attributes:
        difference: Mean of the second minus mean of the first, in the unit of the scores.
        low: Lower end of the interval of the difference.
        high: Upper end.
        p_value: Of the hypothesis that it does not matter which system answered, two-sided.
        num_questions: Questions that both have a score for.
        num_units: Articles among them (questions, where there is one article only).
        unit: What was resampled.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_questions: int
    num_units: int
    unit: Unit

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes by name, for JSON."""
        return asdict(self)


def compare(
    scores_a: Floats,
    scores_b: Floats,
    titles: Sequence[str],
    *,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
    num_sign_flips: int = NUM_SIGN_FLIPS,
    seed: int = 0,
) -> Comparison:
    """Compare the scores of two systems, question by question, articles as clusters.

    The p-value is that of a paired randomisation test: under the hypothesis the two systems may
    be swapped within any article, which flips the sign of that article's summed difference. Up to
    16 articles with a difference all assignments of signs are tried, and the p-value is exact;
    beyond, `num_sign_flips` random ones and the observed one.

    Args:
        scores_a: (questions,) any score of the first system, NaN where a question has none.
        scores_b: (questions,) the same score of the second system, in the same order.
        titles: (questions,) the article of each question.
        level: Of the interval, 0 to 1.
        num_resamples: Bootstrap resamples of the articles.
        num_sign_flips: Random assignments of signs.
        seed: Of both.

    Returns:
        The difference b - a, its interval and its p-value.

    Raises:
        DataError: No question has a score of both systems.

    Source:
        Fisher 1935; Noreen 1989 (approximate randomisation); Dror et al. 2018, section 3.2.
    """
    differences = np.asarray(scores_b, np.float64) - np.asarray(scores_a, np.float64)
    both = ~np.isnan(differences)
    if not both.any():
        raise DataError(
            "The two runs have no scored question in common.",
            "Compare runs that were evaluated on the same questions.",
        )
    kept = [title for title, keep in zip(titles, both, strict=True) if keep]
    clusters, unit = _clusters(kept)
    low, high = intervals(
        {"difference": differences[both]},
        kept,
        level=level,
        num_resamples=num_resamples,
        seed=seed,
    )["difference"]
    return Comparison(
        difference=float(differences[both].mean()),
        low=low,
        high=high,
        p_value=_sign_flip(_sums(clusters, differences[both]), num_sign_flips, seed),
        num_questions=int(both.sum()),
        num_units=int(clusters.max()) + 1,
        unit=unit,
    )


def intervals(
    scores: Mapping[str, Floats],
    titles: Sequence[str],
    *,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return a bootstrap interval of the mean of each score, articles drawn with replacement.

    The percentiles are those that give a mean of few articles the width of Student's t interval:
    plain percentiles of 48 articles cover about a point too rarely.

    Args:
        scores: Name to (questions,) values, NaN where a question does not count.
        titles: (questions,) the article of each question.
        level: Of the interval, 0 to 1.
        num_resamples: How often all articles are drawn.
        seed: Of the drawing; all scores see the same draws.

    Returns:
        Name to (low, high), in the unit of the score. A score without values is left out.

    Source:
        Efron and Tibshirani 1993, chapter 13; Field and Welsh 2007 (cluster bootstrap); Hesterberg
        2015, section 4.3 (expanded percentiles).
    """
    clusters, _ = _clusters(titles)
    found = {}
    for name, values in scores.items():
        values = np.asarray(values, np.float64)
        counted = ~np.isnan(values)
        counts = _sums(clusters[counted], np.ones(counted.sum()))
        sums = _sums(clusters[counted], values[counted])
        there = counts > 0
        if not there.any():
            continue
        means = _resampled_means(sums[there], counts[there], num_resamples, seed)
        tail = _expanded_tail(level, int(there.sum()))
        low, high = np.quantile(means, [tail, 1.0 - tail])
        found[name] = (float(low), float(high))
    return found


def resampling_unit(titles: Sequence[str]) -> Unit:
    """Say what `intervals` and `compare` draw: articles, or questions of a single article."""
    return _clusters(titles)[1]


def _clusters(titles: Sequence[str]) -> tuple[NDArray[np.int64], Unit]:
    """Number the articles from 0, in the order of their titles."""
    _, clusters = np.unique(np.asarray(titles, dtype=object).astype(str), return_inverse=True)
    if len(clusters) and clusters.max() == 0:
        return np.arange(len(titles)), "question"
    return clusters, "article"


def _sums(clusters: NDArray[np.int64], values: Floats) -> Floats:
    """Return (articles,) the sum of the values of each."""
    return np.bincount(clusters, values, minlength=1).astype(np.float64)


def _resampled_means(sums: Floats, counts: Floats, num_resamples: int, seed: int) -> Floats:
    """Return (resamples,) the mean over all questions of the articles drawn."""
    rng = np.random.default_rng(seed)
    size = len(sums)
    rows = max(1, _CELLS_AT_A_TIME // size)
    means = []
    for first in range(0, num_resamples, rows):
        shape = min(rows, num_resamples - first)
        times = rng.multinomial(size, np.full(size, 1.0 / size), size=shape)
        means.append((times @ sums) / (times @ counts))
    return np.concatenate(means)


def _expanded_tail(level: float, num_clusters: int) -> float:
    """Return the tail probability whose normal quantile is Student's, times sqrt(n / (n - 1))."""
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + level / 2)
    if num_clusters < 2:
        return 0.0
    v = num_clusters - 1
    # Student's quantile by its expansion in 1/v: within 0.1 % from four degrees of freedom.
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return normal.cdf(-t * math.sqrt(num_clusters / v))


def _sign_flip(sums: Floats, num_sign_flips: int, seed: int) -> float:
    """Return the share of sign assignments whose sum is as far from 0 as the observed one."""
    sums = sums[sums != 0]
    observed = abs(sums.sum()) * (1 - 1e-12) - 1e-12  # equal sums differ in their last digits
    if len(sums) <= _MOST_EXACT:
        numbers = np.arange(2 ** len(sums))
        signs = 1 - 2 * ((numbers[:, None] >> np.arange(len(sums))) & 1)
        return float((np.abs(signs @ sums) >= observed).mean())
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS_AT_A_TIME // len(sums))
    extreme = 0
    for first in range(0, num_sign_flips, rows):
        shape = (min(rows, num_sign_flips - first), len(sums))
        signs = 1 - 2 * rng.integers(0, 2, size=shape)
        extreme += int((np.abs(signs @ sums) >= observed).sum())
    return (extreme + 1) / (num_sign_flips + 1)
