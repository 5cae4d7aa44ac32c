"""Where an answer's characters lie among a window's tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lib.windows.list_arrays import Int32s, Int64s, as_array, as_numpy
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

    The answer's tokens are those that show any of its characters: the smallest span that covers
    it, from the first token to the last where several show one character (bytes, jamo). On text
    whose tokens are disjoint, these are the labels of the standard recipe (transformers' run_qa),
    which scans every window; here binary searches over the tokens of all contexts find them all.

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
    # A distance between texts makes the characters of all of them ascend.
    stretch = np.int64(tokens.end.max()) + 1
    shift: Int64s = np.repeat(np.arange(len(tokens.counts)) * stretch, tokens.counts)
    start, end = _ascending(shift + tokens.start, shift + tokens.end)
    begins, ends = text * stretch + answer_begin, text * stretch + answer_end
    first = np.searchsorted(end, begins, side="right")  # the first that ends after the beginning
    last = np.searchsorted(start, ends, side="left") - 1  # the last that starts before the end
    inside = (answer_begin >= 0) & (context.begin <= first) & (first <= last)
    inside &= last < context.begin + context.count
    first, last = first - context.begin, last - context.begin
    return first.astype(np.int32), last.astype(np.int32), inside


def _ascending(start: Int64s, end: Int64s) -> tuple[Int64s, Int64s]:
    """Make characters ascend along tokens, so that they can be searched; (tokens,) each.

    They do already but where a normalizer reorders marks, or a token shows no character: it gets
    those of its neighbours.
    """
    shows = start < end
    start = np.where(shows, start, end.max())
    end = np.where(shows, end, 0)
    return np.minimum.accumulate(start[::-1])[::-1], np.maximum.accumulate(end)
