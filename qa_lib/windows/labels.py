"""Where an answer's characters lie among a window's tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lib.windows.list_arrays import Int32s, Int64s, as_array, as_numpy
from qa_lib.windows.tokens import Tokens


def first_answers(answers: pa.ChunkedArray) -> tuple[Int32s, Int32s]:
    """Return the half-open characters of each row's first answer, -1 and -1 without one."""
    column = as_array(answers)
    starts, texts = column.field("answer_start"), column.field("text")
    offsets, text_offsets = as_numpy(starts.offsets), as_numpy(texts.offsets)
    answered = np.flatnonzero(np.diff(offsets))
    begin = np.full(len(column), -1, np.int32)
    end = begin.copy()
    begin[answered] = as_numpy(starts.values)[offsets[answered]]
    first_texts = texts.values.take(pa.array(text_offsets[answered]))
    end[answered] = begin[answered] + as_numpy(pc.utf8_length(first_texts))
    return begin, end


def locate(
    tokens: Tokens,
    text: Int32s,
    window_begin: Int64s,
    window_count: Int32s,
    answer_begin: Int32s,
    answer_end: Int32s,
) -> tuple[Int32s, Int32s, NDArray[np.bool_]]:
    """Find the answer of each window among its context tokens.

    The first token is the last that begins at or before the answer, the last token the first that
    ends at or after it. The standard recipe (transformers' run_qa) scans every window for them;
    here one sorted search over the tokens of all contexts finds all. When the answer begins in the
    last context token, the recipe's scan for the start runs on over the special tokens to the
    window's end: that label points at padding, and here it is the token itself.

    Args:
        tokens: Of all distinct contexts.
        text: Which of them each window shows, shape (windows,), like all that follow.
        window_begin: First context token of the window, an index into `tokens.ids`.
        window_count: Number of its context tokens.
        answer_begin: First character of the answer, -1 without one.
        answer_end: One past its last character.

    Returns:
        Inclusive positions of first and last token within the window's context, and whether the
        window holds the whole answer (the positions mean nothing where it does not).
    """
    if not len(tokens.ids):
        nowhere = np.zeros(len(text), np.int32)
        return nowhere, nowhere, np.zeros(len(text), bool)
    # Characters never fall along the tokens of a text; with the texts set apart, not along all.
    stretch = np.int64(tokens.end.max()) + 1
    shift = np.repeat(np.arange(len(tokens.counts)) * stretch, tokens.counts)
    first = np.searchsorted(shift + tokens.start, text * stretch + answer_begin, side="right") - 1
    last = np.searchsorted(shift + tokens.end, text * stretch + answer_end, side="left")

    window_last = window_begin + window_count - 1
    inside = (answer_begin >= 0) & (window_count > 0)
    some = np.flatnonzero(inside)
    inside[some] = (tokens.start[window_begin[some]] <= answer_begin[some]) & (
        tokens.end[window_last[some]] >= answer_end[some]
    )
    first = np.clip(first, window_begin, window_last) - window_begin
    last = np.clip(last, window_begin, window_last) - window_begin
    return first.astype(np.int32), last.astype(np.int32), inside
