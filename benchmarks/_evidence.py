"""The evidence in docs/results/scores.md: written pairs, intervals on simulated articles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qa_lib.data import SCHEMA
from qa_lib.evaluation import metrics
from qa_lib.evaluation.analysis import intervals, semantic
from qa_lib.evaluation.values import numbers, reading, words
from qa_lib.evaluation.values.agreement import Verdict, agree

# Fifty questions, each with a right answer in other words and a wrong one of the same type. They
# were written before the score was first run on them, and nothing was changed for them after.
PAIRS: list[dict[str, str]] = json.loads(
    Path(__file__).with_name("semantic_pairs.json").read_text(encoding="utf-8")
)
ANSWERS = ("paraphrase", "wrong")
VALUED = ("number", "date")
LEVEL_TAILS = (0.025, 0.975)
TRUE_MEAN = 0.7

Floats = NDArray[np.float64]

# Rules of the value reader: functions of `numbers` or `reading`, or tables of `words`, that each
# goes without.
RULES = {
    "number words": ("NUMBERS", "ORDINALS"),
    "scales": ("SCALES", "LETTERS"),
    "units": ("UNITS",),
    "decades, centuries": ("_period_at",),
    "currency signs": ("CURRENCIES",),
    "ordinal words": ("ORDINALS",),
    "shares": ("_share_at",),
    "Roman numerals": ("_roman_at",),
    "weekday or month alone": ("_named_day",),
    "dates with a month": ("_month_first", "_day_first"),
    "years with an era": ("_year_with_era",),
}


def auc(right: Floats, wrong: Floats) -> float:
    """Return how often a right answer scores above a wrong one, ties counted half."""
    return float(((right[:, None] > wrong) + 0.5 * (right[:, None] == wrong)).mean())


def by_semantic(key: str, encoder: semantic.Encoder) -> Floats:
    """Return (pairs,) the semantic score, 0 to 1, of one answer of each pair."""
    return semantic.similarity([each[key] for each in PAIRS], [[p["gold"]] for p in PAIRS], encoder)


def by_cosine(key: str, encoder: semantic.Encoder) -> Floats:
    """Return (pairs,) the cosine alone, values not read."""
    golds, answers = (encoder.embed([pair[each] for pair in PAIRS]) for each in ("gold", key))
    return np.einsum("pd,pd->p", golds, answers).clip(0.0, 1.0).astype(np.float64)


def by_f1(key: str) -> Floats:
    """Return (pairs,) the official token F1, 0 to 1."""
    rows = [
        {"id": str(row), "title": "", "context": pair["gold"], "question": pair["question"]}
        | {"answers": {"text": [pair["gold"]], "answer_start": [0]}}
        for row, pair in enumerate(PAIRS)
    ]
    questions = pa.Table.from_pylist(rows, SCHEMA)
    answers = {str(row): pair[key] for row, pair in enumerate(PAIRS)}
    return metrics.score(questions, answers).f1


def aucs(encoder: semantic.Encoder) -> dict[str, float]:
    """Return the AUC of each score on all pairs, and of the semantic one on parts of them."""
    valued = np.array([pair["kind"] in VALUED for pair in PAIRS])
    right, wrong = (by_semantic(key, encoder) for key in ANSWERS)
    cosines = (by_cosine(key, encoder) for key in ANSWERS)
    return {
        "semantic, without numbers and dates": auc(right[~valued], wrong[~valued]),
        "semantic, numbers and dates": auc(right[valued], wrong[valued]),
        "semantic, all": auc(right, wrong),
        "cosine without values, all": auc(*cosines),
        "token F1, all": auc(*map(by_f1, ANSWERS)),
    }


def decided(rows: Sequence[tuple[list[str], str]]) -> list[Verdict]:
    """Return what values say of answers, each against its gold answers: the best of them."""
    reading.read.cache_clear()
    verdicts = [{agree(gold, answer) for gold in golds} for golds, answer in rows]
    return [
        Verdict.SAME
        if Verdict.SAME in found
        else Verdict.OPEN
        if Verdict.OPEN in found
        else Verdict.DIFFERENT
        for found in verdicts
    ]


def changed_without(rule: str, rows: Sequence[tuple[list[str], str]]) -> int:
    """Return how many answers values judge otherwise without a rule of `RULES`."""
    before = decided(rows)
    with ExitStack() as stack:
        for name in RULES[rule]:
            if hasattr(words, name):
                stack.enter_context(mock.patch.dict(getattr(words, name), clear=True))
            else:
                module = numbers if hasattr(numbers, name) else reading
                stack.enter_context(mock.patch.object(module, name, lambda *_: None))
        after = decided(rows)
    return sum(one is not other for one, other in zip(before, after, strict=True))


def inversions(encoder: semantic.Encoder) -> list[str]:
    """Return rows of a table: the questions whose wrong answer scores above the right one."""
    right, wrong = (by_semantic(key, encoder) for key in ANSWERS)
    return [
        f"| {pair['gold']} | {pair['paraphrase']} | {100 * good:.0f} | {pair['wrong']} | "
        f"{100 * bad:.0f} |"
        for pair, good, bad in zip(PAIRS, right, wrong, strict=True)
        if bad > good
    ]


def draw_articles(rng: np.random.Generator, num_articles: int) -> tuple[Floats, list[str]]:
    """Draw right and wrong answers; each article has a difficulty of its own, 0.7 in the mean."""
    sizes = rng.integers(10, 50, num_articles)
    rates = rng.beta(7, 3, num_articles)
    titles = np.repeat([f"article {number}" for number in range(num_articles)], sizes)
    return (rng.random(len(titles)) < np.repeat(rates, sizes)).astype(float), titles.tolist()


def coverage(num_articles: int, kind: str, num_simulations: int) -> float:
    """Return how often a 95 % interval covers the true mean.

    Args:
        num_articles: Of each simulation.
        kind: `article`; `question`, each drawn alone; or `plain`, articles by plain percentiles.
        num_simulations: How many; a standard error is 0.007 for 1,000.
    """
    rng = np.random.default_rng(5)
    covered = 0
    for simulation in range(num_simulations):
        right, titles = draw_articles(rng, num_articles)
        if kind == "plain":
            low, high = _plain_interval(right, titles, simulation)
        else:
            units = titles if kind == "article" else [str(row) for row in range(len(titles))]
            low, high = intervals({"em": right}, units, num_resamples=500, seed=simulation)["em"]
        covered += low <= TRUE_MEAN <= high
    return covered / num_simulations


def _plain_interval(right: Floats, titles: list[str], seed: int) -> tuple[float, float]:
    _, clusters = np.unique(titles, return_inverse=True)
    sums, counts = np.bincount(clusters, right), np.bincount(clusters)
    size = len(sums)
    times = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=500)
    low, high = np.quantile((times @ sums) / (times @ counts), LEVEL_TAILS)
    return float(low), float(high)
