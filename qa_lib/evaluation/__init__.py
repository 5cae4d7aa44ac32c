"""Scoring a model, or a file of predictions, on all questions.

    questions = load_questions(settings.data, "eval")
    result = evaluation.evaluate(settings, run, "runs/mine", questions)
    print(evaluation.summary(result))     # EM, F1, counts

A pool of model actors finds spans in windows; the driver merges them over the windows of each
question, checks that none is missing or repeated, and scores.
"""

from __future__ import annotations

from qa_lib.evaluation.evaluate import (
    PREDICTIONS,
    describe,
    evaluate,
    evaluate_held_out,
    merge,
    score,
    score_file,
    warn_of_language,
)
from qa_lib.evaluation.judge import HeldOutJudge, judge_of
from qa_lib.evaluation.pool import find_spans
from qa_lib.evaluation.summarise import summary

__all__ = [
    "PREDICTIONS",
    "HeldOutJudge",
    "describe",
    "evaluate",
    "evaluate_held_out",
    "find_spans",
    "judge_of",
    "merge",
    "score",
    "score_file",
    "summary",
    "warn_of_language",
]
