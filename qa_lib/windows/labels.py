"""Where an answer's characters lie among a window's tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lib.windows.list_arrays import Int32s, as_array, as_numpy
from qa_lib.windows.tokens import Segments


def first_answers(answers: pa.ChunkedArray) -> tuple[Int32s, Int32s]:
    """Return each row's first answer as half-open characters, (rows,) each; -1 without one."""
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
    context: Segments, answer_begin: Int32s, answer_end: Int32s
) -> tuple[Int32s, Int32s, NDArray[np.bool_]]:
    """Find the answer of each window among its context tokens.

    The first token is the last that begins at or before the answer, the last token the first that
    ends at or after it. The standard recipe (transformers' run_qa) scans every window for them;
    here one binary search over the tokens of all contexts finds them all. Where the answer begins
    in the last context token, the recipe's scan for the start runs on over the special tokens to
    the window's end: that label points at padding, and here it is the token itself.

    Args:
        context: The context tokens of each window.
        answer_begin: First character of the answer, -1 without one; shape (windows,).
        answer_end: One past its last character, shape (windows,).

    Returns:
        Inclusive positions of first and last token within the window's context, and whether the
        window holds the whole answer (else the positions mean nothing); each of shape (windows,).
    """
    tokens, text = context.tokens, context.text
    if not len(tokens.ids):
        nowhere = np.zeros(len(text), np.int32)
        return nowhere, nowhere, np.zeros(len(text), bool)
    # Characters ascend along the tokens of a text; a distance between texts makes all ascend.
    stretch = np.int64(tokens.end.max()) + 1
    shift = np.repeat(np.arange(len(tokens.counts)) * stretch, tokens.counts)  # (tokens,)
    first = np.searchsorted(shift + tokens.start, text * stretch + answer_begin, side="right") - 1
    last = np.searchsorted(shift + tokens.end, text * stretch + answer_end, side="left")

    window_last = context.begin + context.count - 1
    inside = (answer_begin >= 0) & (context.count > 0)
    some = np.flatnonzero(inside)
    inside[some] = (tokens.start[context.begin[some]] <= answer_begin[some]) & (
        tokens.end[window_last[some]] >= answer_end[some]
    )
    first = np.clip(first, context.begin, window_last) - context.begin
    last = np.clip(last, context.begin, window_last) - context.begin
    return first.astype(np.int32), last.astype(np.int32), inside
