"""Lists of different lengths as flat arrays: their elements end to end, and offsets or counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


def offsets_of(counts: Sequence[int] | NDArray[Any]) -> Int64s:
    """Return where lists of these lengths begin, and where the last ends: (lists + 1,)."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def indices_of(begins: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return begin, begin + 1, ..., begin + count - 1 of each list, end to end."""
    offsets = offsets_of(counts)
    total = int(offsets[-1])
    largest = max(total, int(begins.max(initial=0)) + int(counts.max(initial=0)))
    dtype = np.int32 if largest < 2**31 else np.int64  # half the memory traffic
    return np.repeat((begins - offsets[:-1]).astype(dtype), counts) + np.arange(total, dtype=dtype)


def as_lists(values: NDArray[Any], counts: Int32s) -> pa.ListArray:
    """Return an Arrow list array over flat values, without copying them."""
    return pa.ListArray.from_arrays(offsets_of(counts).astype(np.int32), pa.array(values))


def as_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it has one chunk."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def as_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without nulls as numpy."""
    return as_array(column).to_numpy(zero_copy_only=False)


def flat(column: pa.ChunkedArray) -> tuple[NDArray[Any], Int32s]:
    """Return a list column's values end to end and its offsets into them, shape (lists + 1,)."""
    lists = as_array(column)
    offsets = as_numpy(lists.offsets)
    # A slice shares its parent's values; an empty list array may have no offsets at all.
    first, last = (offsets[0], offsets[-1]) if len(lists) else (0, 0)
    return as_numpy(lists.values)[first:last], offsets - first
