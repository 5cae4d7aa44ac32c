"""Single questions to look at: where F1 and meaning disagree, and a sample of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LOW_F1, _HIGH_SEMANTIC = 50.0, 70.0
_NUM_MISSED, _NUM_EXAMPLES = 50, 30


def missed(f1: Floats, semantic: Floats) -> dict[str, NDArray[np.int64]]:
    """Find the questions on which token overlap and meaning disagree, the largest difference first.

    Args:
        f1: (questions,) 0 to 100, NaN where a question does not count.
        semantic: (questions,) likewise.

    Returns:
        Rows: `right_in_other_words`, F1 below 50 and semantic 70 or more; and
        `right_in_tokens_only`, F1 50 or more and semantic below 50.
    """
    return {
        "right_in_other_words": _ranked(
            (f1 < _LOW_F1) & (semantic >= _HIGH_SEMANTIC), semantic - f1
        ),
        "right_in_tokens_only": _ranked((f1 >= _LOW_F1) & (semantic < _LOW_F1), f1 - semantic),
    }


def _ranked(chosen: NDArray[np.bool_], distance: Floats) -> NDArray[np.int64]:
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(-distance[rows], kind="stable")]


def sample(num_questions: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows of the examples, in order."""
    size = min(_NUM_EXAMPLES, num_questions)
    return np.sort(np.random.default_rng(seed).choice(num_questions, size, replace=False))


def listed(rows: NDArray[np.int64], questions: pa.Table, scores: pa.Table) -> list[dict[str, Any]]:
    """Return questions with all that a reader needs to judge the answer.

    Args:
        rows: The questions; the first 50 are listed.
        questions: Columns of the SQuAD schema.
        scores: A row per question: the columns of scores.parquet, and `char_start` and `char_end`
            of the answer in its context, null if it is not there.

    Returns:
        A dictionary per question, with `gold`, the distinct gold answers, and `gold_start`, the
        first character of the first of them, None without any.
    """
    chosen = pa.array(rows[:_NUM_MISSED])
    pairs = zip(questions.take(chosen).to_pylist(), scores.take(chosen).to_pylist(), strict=True)
    return [
        {name: question[name] for name in ("id", "title", "question", "context")}
        | {name: score[name] for name in ("char_start", "char_end", "answer")}
        | {
            "gold": list(dict.fromkeys(question["answers"]["text"])),
            "gold_start": next(iter(question["answers"]["answer_start"]), None),
        }
        | {name: score[name] for name in ("em", "f1", "semantic", "score")}
        for question, score in pairs
    ]


def find_in(contexts: Sequence[str], answers: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Return the first and last character (half-open) of answers in contexts, None if absent."""
    starts: list[Any] = []
    ends: list[Any] = []
    for context, answer in zip(contexts, answers, strict=True):
        start = context.find(answer) if answer else -1
        starts.append(start if start >= 0 else None)
        ends.append(start + len(answer) if start >= 0 else None)
    return starts, ends
