"""What may answer a question: spans of context, pooled over windows, and "no answer"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from qa_lib import windows
from qa_lib.evaluation import spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32s = NDArray[np.float32]

NOTHING: dict[str, Any] = {"score": 0.0, "start": 0, "end": 0, "answer": ""}
_WINDOWS_AT_A_TIME = 64


@dataclass(frozen=True, order=True)
class Span:
    """A candidate; candidates sort by window, and within a window best first."""

    part: int
    rank: int
    score: float
    logit: float
    start: int
    end: int


class Null(NamedTuple):
    """The empty answer of a question: its least probability and sum of logits, of a window."""

    score: float
    logit: float


def probabilities(table: pa.Table, logits: Float32s) -> tuple[Float32s, Float32s]:
    """Softmax over each window's context and null position.

    Returns:
        Probabilities, (windows, tokens), elsewhere 0; and the logit of probability 1, (windows,).
    """
    position = np.arange(logits.shape[1])
    possible = (position >= table["context_begin"].to_numpy()[:, None]) & (
        position < table["context_end"].to_numpy()[:, None]
    )
    possible[np.arange(len(logits)), table["null_position"].to_numpy()] = True
    masked = np.where(possible, logits, np.float32(-np.inf))
    largest = masked.max(axis=1, keepdims=True)
    weights = np.exp(masked - largest)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, (largest + np.log(total))[:, 0]


def best_spans(
    table: pa.Table,
    starts: Float32s,
    ends: Float32s,
    total: Float32s,
    count: int,
    max_answer_len: int,
) -> Iterable[tuple[int, Span]]:
    """Yield each window's best spans of context, with the row of their question.

    Args:
        table: (windows,) rows with character offsets.
        starts: (windows, tokens) float32 probabilities.
        ends: Likewise.
        total: (windows,) sum of logits of probability 1.
        count: Spans per window.
        max_answer_len: Longest span, in tokens.
    """
    for first in range(0, table.num_rows, _WINDOWS_AT_A_TIME):
        some = slice(first, first + _WINDOWS_AT_A_TIME)
        part = table.slice(first, _WINDOWS_AT_A_TIME)
        width = min(max_answer_len, starts.shape[1])
        padded = np.pad(ends[some], ((0, 0), (0, width - 1)))
        # (windows, starts, lengths): the end lies `length` tokens after the start
        scores = starts[some, :, None] * np.lib.stride_tricks.sliding_window_view(padded, width, 1)
        start = np.arange(starts.shape[1])[:, None]  # (starts, 1)
        begin, end = (
            part[name].to_numpy()[:, None, None] for name in ("context_begin", "context_end")
        )
        possible = (start >= begin) & (start + np.arange(width) < end)
        flat = (part.num_rows, -1)
        counts, pair = spans.best_of_rows(scores.reshape(flat), count, possible.reshape(flat))
        window = np.repeat(np.arange(part.num_rows), counts)  # (spans,)
        first_token, last_token = pair // width, pair // width + pair % width
        char_start, char_end = windows.characters(part, window, first_token, last_token)
        rank = np.arange(len(window)) - np.repeat(np.cumsum(counts) - counts, counts)
        score = scores.reshape(flat)[window, pair]
        with np.errstate(divide="ignore"):  # a probability of 0
            logit = np.log(score) + total[some][window]
        columns = (part["part"].to_numpy()[window], rank, score, logit, char_start, char_end)
        row = part["row"].to_numpy()[window].tolist()
        found = map(Span, *(column.tolist() for column in columns))
        # A span of tokens of white space alone is no text.
        yield from (pair for pair in zip(row, found, strict=True) if pair[1].start < pair[1].end)


def ranked(context: str, candidates: list[Span]) -> list[dict[str, Any]]:
    """Return one answer per span of characters, best first.

    Several spans of tokens may be one of whole words: it has their sum. Of several windows that
    show it, the best counts.
    """
    of_window: dict[tuple[int, int, int], float] = {}
    for span in sorted(candidates):
        key = span.start, span.end, span.part
        of_window[key] = of_window.get(key, 0.0) + span.score
    best: dict[tuple[int, int], float] = {}
    for (start, end, _), score in of_window.items():
        best[start, end] = max(score, best.get((start, end), 0.0))
    answers: list[dict[str, Any]] = [
        {"score": min(score, 1.0), "start": start, "end": end, "answer": context[start:end]}
        for (start, end), score in best.items()
    ]
    answers.sort(key=lambda answer: answer["score"], reverse=True)
    return answers


def insert_null(
    answers: list[dict[str, Any]], candidates: list[Span], null: Null, threshold: float
) -> None:
    """Put "no answer" first where its logits say so, else where its score belongs behind that."""
    best = max((span.logit for span in candidates), default=-np.inf)
    place = 0
    if null.logit - best <= threshold:
        place = 1 + sum(answer["score"] >= null.score for answer in answers[1:])
    answers.insert(place, NOTHING | {"score": null.score})
