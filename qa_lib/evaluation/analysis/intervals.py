"""Confidence intervals of mean scores, and comparisons of two systems, resampled by article.

Questions of one article succeed and fail together, so articles are resampled. Where all questions
share one title, questions are resampled instead; that makes intervals too narrow, and `unit` says
so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
        p_value: Two-sided, of the hypothesis that both systems answer equally well.
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


def compare(
    scores_a: Floats,
    scores_b: Floats,
    titles: Sequence[str],
    *,
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
        num_resamples: Bootstrap resamples of the articles.
        num_sign_flips: Random assignments of signs.
        seed: Of both.

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
    found = intervals({"": differences}, titles, num_resamples=num_resamples, seed=seed)
    clusters, unit = _clusters(np.asarray(titles)[both])
    return Comparison(
        difference=float(differences[both].mean()),
        low=found[""][0],
        high=found[""][1],
        p_value=_sign_flip(_sums(clusters, differences[both]), num_sign_flips, seed),
        num_questions=int(both.sum()),
        num_units=int(clusters.max()) + 1,
        unit=unit,
    )


def intervals(
    scores: Mapping[str, Floats],
    titles: Sequence[str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return a bootstrap interval of the mean of each score, articles drawn with replacement.

    The percentiles are those that give a mean of few articles the width of Student's t interval:
    plain percentiles of 48 articles cover about a point too rarely.

    Args:
        scores: Name to (questions,) values, NaN where a question does not count.
        titles: (questions,) the article of each question.
        num_resamples: Bootstrap resamples of the articles.
        seed: Of the resampling; scores that count on the same questions see the same resamples.

    Returns:
        Name to (low, high), in the unit of the score. A score without values is left out.

    Source:
        Efron and Tibshirani 1993, chapter 13; Field and Welsh 2007 (cluster bootstrap); Hesterberg
        2015, section 4.3 (expanded percentiles).
    """
    alike: dict[bytes, list[str]] = {}
    for name, values in scores.items():
        alike.setdefault(np.isnan(values).tobytes(), []).append(name)
    found = {}
    for names in alike.values():
        columns = np.stack([np.asarray(scores[name], np.float64) for name in names])
        counted = ~np.isnan(columns[0])
        if not counted.any():
            continue
        clusters, _ = _clusters(np.asarray(titles)[counted])
        sums = np.stack([_sums(clusters, each[counted]) for each in columns], axis=1)
        means = _resampled_means(sums, _sums(clusters), num_resamples, seed)
        tail = expanded_tail(len(sums))
        for name, (low, high) in zip(
            names, np.quantile(means, [tail, 1.0 - tail], axis=0).T, strict=True
        ):
            found[name] = (float(low), float(high))
    return {name: found[name] for name in scores if name in found}


def resampling_unit(titles: Sequence[str]) -> Unit:
    """Return what is resampled: articles, or the questions of a single article."""
    return _clusters(np.asarray(titles))[1]


def _clusters(titles: NDArray[np.str_]) -> tuple[NDArray[np.int64], Unit]:
    """Number the articles of counted questions from 0, in the order of their titles."""
    names, clusters = np.unique(titles, return_inverse=True)
    if len(names) == 1:
        return np.arange(len(titles)), "question"
    return clusters, "article"


def _sums(clusters: NDArray[np.int64], values: Floats | None = None) -> Floats:
    """Return (articles,) the sum of the values of each, or the number of its questions."""
    return np.bincount(clusters, values).astype(np.float64)


def _resampled_means(sums: Floats, counts: Floats, num_resamples: int, seed: int) -> Floats:
    """Return (resamples, scores) the means over all questions of the articles drawn.

    Args:
        sums: (articles, scores) summed over the questions of each article.
        counts: (articles,) its questions.
        num_resamples: Bootstrap resamples.
        seed: Of the resampling.
    """
    rng = np.random.default_rng(seed)
    size = len(sums)
    rows = max(1, _CELLS_AT_A_TIME // size)
    means = []
    for first in range(0, num_resamples, rows):
        shape = min(rows, num_resamples - first)
        times = rng.multinomial(size, np.full(size, 1.0 / size), size=shape)
        means.append((times @ sums) / (times @ counts)[:, None])
    return np.concatenate(means)


def expanded_tail(num_clusters: int) -> float:
    """Return the tail probability whose normal quantile is Student's, times sqrt(n / (n - 1))."""
    if num_clusters < 2:
        return 0.0
    from scipy import stats  # takes a second

    quantile = stats.t.ppf(0.5 + LEVEL / 2, num_clusters - 1)
    return float(stats.norm.cdf(-quantile * math.sqrt(num_clusters / (num_clusters - 1))))


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
