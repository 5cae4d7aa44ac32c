"""Where golds begin: offsets and spans, in lists and structs, of rows or of their golds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.answer_values import SPAN_NAMES, start_field
from qa_lib.data.conversion import is_list, is_text, lengths, plain, to_offsets


def begins(starts: pa.Array, name: str, *, of_golds: bool = False) -> pa.Array:
    """Return offsets: of spans, as name or fields tell, where they begin; of several, the first.

    Args:
        starts: Of rows, numbers or lists of them, one for each gold; or of golds.
        name: Of their column or field.
        of_golds: Whether each is that of one gold, so that a list is not one of several golds.
    """
    found = _without_fields(starts)
    if of_golds:
        while is_list(found.type):
            found = _firsts(found)
        return found
    while is_list(found.type) and is_list(found.type.value_type):
        found = relist(found, _firsts(found.flatten()))
    # A list of numbers, not of structs or lists, is one span.
    is_flat = is_list(starts.type) and not pa.types.is_nested(starts.type.value_type)
    is_span = is_flat and plain(name.rpartition(".")[2]) in SPAN_NAMES
    return _firsts(found) if is_span else found


def that_stand(
    texts: pa.ListArray, starts: pa.Array, stand: Callable[[int, int, bytes], bool]
) -> pa.ListArray | None:
    """Return the offsets of rows whose golds all stand there, null for the others.

    A field called `span` may hold tokens, and `labels` anything.

    Args:
        texts: Of the golds of each row.
        starts: A list of offsets for each row.
        stand: Whether a text stands at an offset in the context of a row.
    """
    if is_list(starts.type) and not pa.types.is_nested(starts.type.value_type):
        values = starts.flatten()
        if is_text(values.type) or pa.types.is_primitive(values.type):
            offsets = relist(starts, to_offsets(values)).to_pylist()
            golds = texts.cast(pa.list_(pa.binary())).to_pylist()
            sure = [
                own
                if own
                and None not in own
                and own_golds
                and len(own) == len(own_golds)
                # all() ends at the first that does not stand
                and all(stand(row, *gold) for gold in zip(own, own_golds, strict=True))
                else None
                for row, (own, own_golds) in enumerate(zip(offsets, golds, strict=True))
            ]
            return pa.array(sure, pa.list_(pa.int64()))
    return None


def relist(lists: pa.Array, values: pa.Array) -> pa.ListArray:
    """Return lists like these, null rows included, of other values."""
    offsets = np.concatenate([[0], np.cumsum(lengths(lists))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=lists.is_null())


def _without_fields(starts: pa.Array) -> pa.Array:
    """Return, in place of structs such as {start, end}, their offsets."""
    if pa.types.is_struct(starts.type):
        start = start_field(field.name for field in starts.type)
        return starts if start is None else _without_fields(pc.struct_field(starts, start))
    if not is_list(starts.type):
        return starts
    inner = starts.flatten()
    found = _without_fields(inner)
    return starts if found is inner else relist(starts, found)


def _firsts(lists: pa.Array) -> pa.Array:
    """Return the first value of each list, null where it has none."""
    sizes = lengths(lists)
    return lists.flatten().take(pa.array(np.cumsum(sizes) - sizes, mask=sizes == 0))
