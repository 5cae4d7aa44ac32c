"""Golds that no prediction can equal: too long for an answer, or for every window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.windows.building import WindowSpec, build
from qa_lib.windows.list_arrays import as_array, as_numpy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def count_unreachable(
    questions: pa.Table,
    tokenizer: PreTrainedTokenizerFast,
    spec: WindowSpec,
    max_answer_length: int,
) -> dict[str, int]:
    """Count the questions whose shortest gold is out of reach.

    Args:
        questions: As in `data.SCHEMA`.
        tokenizer: Of the model.
        spec: Window length and stride.
        max_answer_length: Most tokens of an answer.

    Returns:
        `num_golds_too_long`: it has more tokens than an answer may have.
        `num_golds_in_no_window`: no window holds all of it. Questions that have no window at all
        are not counted.
    """
    column = as_array(questions["answers"])
    texts, starts = (pc.list_flatten(pc.struct_field(column, n)) for n in ("text", "answer_start"))
    counts = as_numpy(pc.list_value_length(pc.struct_field(column, "text")))
    rows = np.repeat(np.arange(len(column)), counts)
    num_bytes = as_numpy(pc.binary_length(texts))
    sound = np.flatnonzero(as_numpy(starts) >= 0)
    order = sound[np.lexsort((num_bytes[sound], rows[sound]))]
    of_row, at = np.unique(rows[order], return_index=True)
    shortest = order[at]
    # A token has a byte or more, and a gold of no more tokens than the stride is in some window.
    suspects = num_bytes[shortest] > min(max_answer_length, spec.stride)
    of_row, shortest = of_row[suspects], shortest[suspects]
    if not len(of_row):
        return {"num_golds_too_long": 0, "num_golds_in_no_window": 0}
    offsets = pa.array(np.arange(len(of_row) + 1), pa.int32())
    golds = [
        pa.ListArray.from_arrays(offsets, values.take(pa.array(shortest)))
        for values in (texts, starts)
    ]
    some = questions.take(pa.array(of_row))
    some = some.set_column(
        some.column_names.index("answers"),
        "answers",
        pa.StructArray.from_arrays(golds, ["text", "answer_start"]),
    )
    cut = build(some, tokenizer, spec, characters=False)
    row, start, end, null = (
        as_numpy(as_array(cut.table[name])) for name in ("row", "start", "end", "null_position")
    )
    num_tokens = np.zeros(len(of_row), np.int64)
    np.maximum.at(num_tokens, row, np.where(start == null, 0, end - start + 1))
    in_no_window = num_tokens == 0
    in_no_window[cut.too_long] = False
    return {
        "num_golds_too_long": int((num_tokens > max_answer_length).sum()),
        "num_golds_in_no_window": int(in_no_window.sum()),
    }
