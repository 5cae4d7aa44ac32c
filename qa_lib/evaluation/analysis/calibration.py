"""Calibration: how well an answer's score predicts that it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_BINS = 15
_NUM_POINTS = 101


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
