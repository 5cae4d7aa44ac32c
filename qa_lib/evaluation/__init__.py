"""Scoring a model, or a file of predictions, on all questions.

    result = evaluate.evaluate(settings, run, "runs/mine", squad.load(settings.data, "eval"))
    print(evaluate.summary(result))     # EM, F1, counts

Windows are dealt to a pool of model actors; the driver merges the spans that come back over each
question's windows, checks that nothing is missing or double, and scores.
"""

from __future__ import annotations

from qa_lib.evaluation.evaluate import describe, evaluate, evaluate_held_out
from qa_lib.evaluation.pool import find_spans
from qa_lib.evaluation.scoring import PREDICTIONS, merge, score, score_file, summary, write_answers

__all__ = [
    "PREDICTIONS",
    "describe",
    "evaluate",
    "evaluate_held_out",
    "find_spans",
    "merge",
    "score",
    "score_file",
    "summary",
    "write_answers",
]
