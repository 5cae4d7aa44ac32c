"""Scoring a model, or a file of predictions, on all questions.

    result = evaluate.evaluate(settings, run, "runs/mine", squad.load(settings.data, "eval"))
    print(evaluate.summary(result))     # EM, F1, counts

Windows are dealt to a pool of model actors on Ray Data; the driver merges the spans that come back
over each question's windows, checks that nothing is missing or double, and scores.
"""

from __future__ import annotations

from qa_lib.evaluation.evaluate import describe, evaluate, evaluate_held_out
from qa_lib.evaluation.pool import device_of, find_spans, num_gpus_of, pool_size
from qa_lib.evaluation.scoring import PREDICTIONS, merge, score, score_file, summary, write_answers

__all__ = [
    "PREDICTIONS",
    "describe",
    "device_of",
    "evaluate",
    "evaluate_held_out",
    "find_spans",
    "merge",
    "num_gpus_of",
    "pool_size",
    "score",
    "score_file",
    "summary",
    "write_answers",
]
