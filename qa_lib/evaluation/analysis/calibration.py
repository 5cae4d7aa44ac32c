"""How well an answer's score predicts that it is right, and the best threshold of "no answer"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib.evaluation.answers import NO_SPAN_ODDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_BINS = 15
_NUM_POINTS = 101
_NUM_THRESHOLDS = 201


def calibrate(confidence: Floats, correct: Floats) -> dict[str, Any]:
    """Compare the confidence of answers with how often they are right.

    Args:
        confidence: (questions,) 0 to 1.
        correct: (questions,) 1 for a right answer, 0 for a wrong one.

    Returns:
        `error`, the expected calibration error (0 to 1) over 15 bins of equal width; `bins`, those
        with questions; `aurc`, the area under the risk-coverage curve (0 to 1); and
        `risk_coverage`, at most 101 points of it.

    Source:
        Guo et al. 2017, section 2 (ECE); Geifman et al. 2019 (AURC); Kamath et al. 2020 (risk and
        coverage of question answering).
    """
    bins = _bins(confidence, correct)
    gaps = [one["num_questions"] * abs(one["accuracy"] - one["confidence"]) for one in bins]
    risk = _risks(confidence, correct)
    shown = np.unique(np.linspace(1, len(risk), min(len(risk), _NUM_POINTS)).round().astype(int))
    return {
        "error": sum(gaps) / len(confidence),
        "bins": bins,
        "aurc": float(risk.mean()),
        "risk_coverage": [
            {"coverage": int(size) / len(risk), "risk": float(risk[size - 1])} for size in shown
        ],
    }


def _bins(confidence: Floats, correct: Floats) -> list[dict[str, Any]]:
    """Return the bins (low, high]; the first holds 0 as well."""
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, NUM_BINS - 1)
    counts = np.bincount(bin_of, minlength=NUM_BINS)
    sums = {
        "confidence": np.bincount(bin_of, confidence, minlength=NUM_BINS),
        "accuracy": np.bincount(bin_of, correct, minlength=NUM_BINS),
    }
    return [
        {
            "low": float(edges[place]),
            "high": float(edges[place + 1]),
            **{name: float(values[place] / counts[place]) for name, values in sums.items()},
            "num_questions": int(counts[place]),
        }
        for place in np.flatnonzero(counts)
    ]


def _risks(confidence: Floats, correct: Floats) -> Floats:
    """Return (questions,) the share of wrong answers among the 1, 2, ... most confident ones.

    Answers of equal confidence have no order: each counts as their mean.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group, sizes = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    wrong = 1.0 - correct[order]
    shared = np.bincount(group, wrong) / sizes
    return np.cumsum(shared[group]) / np.arange(1, len(wrong) + 1)


def no_answer(
    null_odds: Floats,
    em: Floats,
    f1: Floats,
    has_answer: NDArray[np.bool_],
    is_empty: NDArray[np.bool_],
) -> dict[str, Any]:
    """Find the best threshold of the null odds, and the scores at others.

    A question is left unanswered where its odds exceed the threshold, as with
    `--evaluate.no-answer-threshold`.

    Args:
        null_odds: (questions,) score of "no answer" minus that of the best span.
        em: (questions,) 0 to 1, of the best span, whatever its odds.
        f1: (questions,) likewise.
        has_answer: (questions,) False for the unanswerable ones.
        is_empty: (questions,) True where there is no span to answer with.

    Returns:
        `best_threshold` and `best_f1`, `best_em_threshold` and `best_em`, as the official script
        finds them (0 to 100), but where answering nothing is best, and 0.0 would answer, just below
        the least odds; and `curve`, at most 201 points of `threshold`, `em` and `f1` (0 to 100),
        thresholds rising.

    Source:
        Rajpurkar et al. 2018, evaluate-v2.0.py, find_best_thresh.
    """
    order = np.argsort(null_odds, kind="stable")
    best_em, em_threshold = _best_threshold(null_odds, em, has_answer, is_empty, order)
    best_f1, f1_threshold = _best_threshold(null_odds, f1, has_answer, is_empty, order)
    return {
        "best_threshold": f1_threshold,
        "best_f1": best_f1,
        "best_em_threshold": em_threshold,
        "best_em": best_em,
        "curve": _curve(null_odds[order], em[order], f1[order], has_answer[order]),
    }


def _best_threshold(
    null_odds: Floats,
    score: Floats,
    has_answer: NDArray[np.bool_],
    is_empty: NDArray[np.bool_],
    order: NDArray[np.int64],
) -> tuple[float, float]:
    """Return the best mean (0 to 100) and its threshold; questions are answered in `order`.

    As in the official script, questions of equal odds are answered one after another, so that a
    best score among them may be out of any threshold's reach.
    """
    gain = np.where(has_answer, score, np.where(is_empty, 0.0, -1.0))[order]
    total = np.cumsum(np.append(float((~has_answer).sum()), gain))
    best = int(np.argmax(total))
    if best:
        threshold = float(null_odds[order[best - 1]])
    else:  # odds are float32, and are compared as such
        below = np.nextafter(np.float32(null_odds[order[0]]), np.float32(-np.inf))
        threshold = min(0.0, float(below))
    return 100.0 * float(total[best]) / len(order), threshold


def _curve(
    null_odds: Floats, em: Floats, f1: Floats, has_answer: NDArray[np.bool_]
) -> list[dict[str, float]]:
    """Return points at thresholds that some question has, all of its equals answered with it."""
    size = len(null_odds)
    last = np.append(np.flatnonzero(np.diff(null_odds) > 0), size - 1)
    last = last[null_odds[last] < NO_SPAN_ODDS]  # no threshold answers those
    if len(last) > _NUM_THRESHOLDS:
        last = last[np.linspace(0, len(last) - 1, _NUM_THRESHOLDS).round().astype(int)]
    silent = np.cumsum((~has_answer)[::-1])[::-1]
    unanswered_right = np.append(silent[1:], 0)  # of the questions beyond each
    points = {}
    for name, score in (("em", em), ("f1", f1)):
        points[name] = 100.0 * (np.cumsum(score) + unanswered_right) / size
    return [
        {
            "threshold": float(null_odds[each]),
            "em": float(points["em"][each]),
            "f1": float(points["f1"][each]),
        }
        for each in last
    ]
