"""Logits to candidates: the n best spans of every window.

The spans are those of the usual loop (for each window the n best starts against the n best ends,
what is no span inside the context dropped), span for span and in the same order, but for thousands
of windows at a time. Ties are decided as that loop decides them with stable sorts: of equal logits
the later token ranks first; of equal scores the better start, then the better end.

Source:
    Devlin et al. 2019, section 4.2 (score of a span).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib import windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Int32s = NDArray[np.int32]
    Int64s = NDArray[np.int64]
    Float32s = NDArray[np.float32]

# Windows decoded at a time: their start-end pairs stay in the processor's cache.
_WINDOWS_AT_A_TIME = 128
_COLUMN_BITS = 24  # of a sort key, beside 32 of a float and 7 of a row


def decode(
    table: pa.Table,
    start_logits: Float32s,
    end_logits: Float32s,
    *,
    n_best: int,
    max_answer_length: int,
) -> pa.Table:
    """Find the n best spans of each window.

    Args:
        table: (windows) rows that `windows.build` made, with character offsets.
        start_logits: (windows, tokens) float32, position 0 at the window's first token, -inf after
            its last; no NaN.
        end_logits: Likewise.
        n_best: Starts and ends considered, and spans kept, per window.
        max_answer_length: Longest span, in tokens.

    Returns:
        One row per window, in the same order: `row` and `part` of the window; `null_start` and
        `null_end` (float32), its logits of "no answer"; and its spans, best first, as lists:
        `char_start`, `char_end` (int32, half-open characters of the context), `start_logit`,
        `end_logit` (float32).
    """
    parts = []
    for first in range(0, max(table.num_rows, 1), _WINDOWS_AT_A_TIME):
        some = slice(first, first + _WINDOWS_AT_A_TIME)
        part = table.slice(first, _WINDOWS_AT_A_TIME)
        parts.append(
            _decode_some(part, start_logits[some], end_logits[some], n_best, max_answer_length)
        )
    return pa.concat_tables(parts)


def _decode_some(
    table: pa.Table,
    start_logits: Float32s,
    end_logits: Float32s,
    n_best: int,
    max_answer_length: int,
) -> pa.Table:
    row = np.arange(table.num_rows)
    starts = _best_positions(start_logits, n_best)  # (windows, starts)
    ends = _best_positions(end_logits, n_best)  # (windows, ends)
    possible = _possible(starts, ends, table, max_answer_length)
    scores = start_logits[row[:, None], starts][:, :, None]
    scores = scores + end_logits[row[:, None], ends][:, None, :]  # (windows, starts, ends)
    num_pairs = starts.shape[1] * ends.shape[1]
    counts, pair = best_of_rows(
        scores.reshape(len(row), num_pairs), n_best, possible.reshape(len(row), num_pairs)
    )
    window = np.repeat(row, counts)  # (spans,)
    start = starts[window, pair // ends.shape[1]]
    end = ends[window, pair % ends.shape[1]]
    char_start, char_end = windows.characters(table, window, start, end)
    offsets = np.append(0, np.cumsum(counts)).astype(np.int32)
    null = table["null_position"].to_numpy()
    return pa.table(
        {
            "row": table["row"],
            "part": table["part"],
            "null_start": start_logits[row, null],
            "null_end": end_logits[row, null],
            "char_start": pa.ListArray.from_arrays(offsets, char_start),
            "char_end": pa.ListArray.from_arrays(offsets, char_end),
            "start_logit": pa.ListArray.from_arrays(offsets, start_logits[window, start]),
            "end_logit": pa.ListArray.from_arrays(offsets, end_logits[window, end]),
        }
    )


def _best_positions(logits: Float32s, count: int) -> Int32s:
    """Return the positions of the largest logits, (windows, count), best first, later ones first.

    All positions where there are fewer.
    """
    num_windows, width = logits.shape
    _, mirrored = best_of_rows(logits[:, ::-1], min(count, width), None)
    return (width - 1 - mirrored).astype(np.int32).reshape(num_windows, min(count, width))


def _possible(starts: Int32s, ends: Int32s, table: pa.Table, max_length: int) -> NDArray[np.bool_]:
    """Return which starts and ends make a span of the context, (windows, starts, ends)."""
    context_begin = table["context_begin"].to_numpy()[:, None]
    context_end = table["context_end"].to_numpy()[:, None]
    limit = np.minimum(starts + np.int32(max_length), context_end)
    limit = np.where(starts >= context_begin, limit, 0)  # no end is below 0
    return (ends[:, None, :] >= starts[:, :, None]) & (ends[:, None, :] < limit[:, :, None])


def best_of_rows(
    values: Float32s, count: int, wanted: NDArray[np.bool_] | None
) -> tuple[Int64s, Int64s]:
    """Rank the values of each row, and of equal ones the earlier first.

    Args:
        values: (rows, columns) float32; at most 128 rows and 16 million columns.
        count: How many to keep per row.
        wanted: (rows, columns) bool, what to rank; all where None.

    Returns:
        (rows,) number kept, fewer than `count` where fewer are wanted; and the columns of all that
        are kept, row after row, best first.
    """
    num_rows, num_columns = values.shape
    considered = values if wanted is None else np.where(wanted, values, np.float32(-np.inf))
    cut = num_columns - count
    if cut > 0:
        # The count-th largest; all that equal it are still in the running.
        least = np.partition(considered, cut, axis=1)[:, cut, None]
        passed = considered >= least
        wanted = passed if wanted is None else passed & wanted
    elif wanted is None:
        wanted = np.ones(values.shape, bool)
    index = np.flatnonzero(wanted)
    row, column = index // num_columns, index % num_columns
    # Every key is distinct, so any sort decides ties alike.
    falling = 0xFFFFFFFF - rising(values[row, column])
    keys = np.sort((row << (32 + _COLUMN_BITS)) | (falling << _COLUMN_BITS) | column)
    row = keys >> (32 + _COLUMN_BITS)
    in_row = np.bincount(row, minlength=num_rows)  # (rows,)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(in_row) - in_row, in_row)
    return np.minimum(in_row, count), keys[rank < count] & ((1 << _COLUMN_BITS) - 1)


def rising(values: Float32s) -> Int64s:
    """Return integers from 0 to 2^32 - 1 that rank as the values do.

    A float's bits, read as an integer, rank as the float once those of negative ones are flipped.
    """
    bits = (values + np.float32(0)).view(np.int32)  # + 0 turns -0.0, which equals 0.0, into it
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) + 0x80000000
