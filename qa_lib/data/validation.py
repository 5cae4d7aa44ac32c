"""Which questions are faulty, and why: checks over whole Arrow columns, and the quarantine.

A row has the first fault of CHECKS that applies. A check sees only the rows that passed those
before it, and so relies on them. Answers are judged last, by `golds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data import golds
from qa_lib.data.columns import ROWS_PER_BATCH
from qa_lib.data.schema import TEXT_COLUMNS

Mask = np.ndarray  # bool, one per row of the batch
NOT_UTF8 = "a text is not valid UTF-8"
REPEATED_ID = "another row has the same id"


@dataclass(frozen=True)
class Checked:
    """A table, judged.

    Attributes:
        table: The sound rows, in their order, with answers as `golds.clean` leaves them and
            questions without outer white space; columns of SCHEMA as UNCHECKED has them.
        bad: Pairs (row, reason) in the order of rows. Of several rows with one id, the first is
            good.
        notes: What was changed, and how often.
    """

    table: pa.Table
    bad: list[tuple[int, str]]
    notes: dict[str, int]


def check(table: pa.Table, *, all_golds_count: bool = False) -> Checked:
    """Find the faulty rows, and clean the others.

    Args:
        table: As `columns.normalise` returns it, ids filled in.
        all_golds_count: Whether golds that do not stand in the context are kept.
    """
    reasons = np.zeros(table.num_rows, np.int16)
    names = [reason for reason, _ in CHECKS] + [*golds.FAULTS, REPEATED_ID]
    notes: Counter[str] = Counter()
    parts = []
    first = 0
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        of_batch = _check(batch)
        passed = np.flatnonzero(of_batch == 0)
        rows = batch if len(passed) == len(batch) else batch.take(pa.array(passed))
        cleaned = golds.clean(rows, all_count=all_golds_count)
        faults = cleaned.faults.astype(np.int16)
        of_batch[passed] = np.where(faults > 0, faults + len(CHECKS), 0)
        reasons[first : first + len(batch)] = of_batch
        notes += cleaned.notes
        columns = {name: rows[name] for name in TEXT_COLUMNS} | {"answers": cleaned.answers}
        columns["question"] = pc.utf8_trim_whitespace(rows["question"])
        part = pa.table(columns)
        parts.append(part if not faults.any() else part.filter(pa.array(faults == 0)))
        first += len(batch)
    sound = pa.concat_tables(parts) if parts else table.drop_columns("is_impossible")
    codes = sound["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    repeats = np.ones(len(codes), bool)
    repeats[np.unique(codes, return_index=True)[1]] = False
    if repeats.any():
        reasons[np.flatnonzero(reasons == 0)[repeats]] = len(names)
        sound = sound.filter(pa.array(~repeats))
    bad = [(int(row), names[reasons[row] - 1]) for row in np.flatnonzero(reasons)]
    return Checked(sound, bad, {what: count for what, count in notes.items() if count})


def first_fault(table: pa.Table) -> tuple[int, str] | None:
    """Return number and fault of the first row that cannot be asked, whatever its answers.

    Args:
        table: As `columns.normalise` returns it, ids filled in.
    """
    first = 0
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        reasons = _check(batch)
        if reasons.any():
            row = int(np.flatnonzero(reasons)[0])
            return first + row, CHECKS[reasons[row] - 1][0]
        first += len(batch)
    return None


def _check(batch: pa.RecordBatch) -> np.ndarray:
    """Return 1 + the index in CHECKS of each row's fault, or 0; (rows,) int16."""
    reasons = np.zeros(len(batch), np.int16)
    passed = np.arange(len(batch))
    for number, (_, is_at_fault) in enumerate(CHECKS, start=1):
        mask = is_at_fault(batch)
        if mask.any():
            reasons[passed[mask]] = number
            passed = passed[~mask]
            batch = batch.filter(pa.array(~mask))
    return reasons


def _rows_of_elements(lists: pa.ListArray) -> np.ndarray:
    """Return the row of each element of `lists.flatten()`: (elements,) int64."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


def _rows_where(elements: Mask, lists: pa.ListArray) -> Mask:
    """Return the mask of the rows that have a True element."""
    mask = np.zeros(len(lists), bool)
    mask[_rows_of_elements(lists)[elements]] = True
    return mask


def _numpy(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _is_null(name: str) -> Callable[[pa.RecordBatch], Mask]:
    return lambda batch: _numpy(batch[name].is_null())


def _is_not_utf8(batch: pa.RecordBatch) -> Mask:
    texts = pc.struct_field(batch["answers"], "text")
    mask = _rows_where(_not_utf8(texts.flatten()), texts)
    for name in TEXT_COLUMNS:
        mask |= _of_rows(batch[name], _not_utf8)
    return mask


def _of_rows(texts: pa.Array, judge: Callable[[pa.StringArray], Mask]) -> Mask:
    """Return the judgement of each row's text; a text that rows share is judged once."""
    if not pa.types.is_dictionary(texts.type):
        return judge(texts)
    known = np.flatnonzero(_numpy(texts.is_valid()))
    mask = np.zeros(len(texts), bool)
    if len(known):
        mask[known] = judge(texts.dictionary)[_numpy(texts.indices.take(pa.array(known)))]
    return mask


def _not_utf8(strings: pa.StringArray) -> Mask:
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:  # some text is not: look at all of them
        texts = (text or b"" for text in strings.cast(pa.binary()).to_pylist())
        return np.array([text.decode(errors="ignore").encode() != text for text in texts])
    return np.zeros(len(strings), bool)


def _is_blank(name: str) -> Callable[[pa.RecordBatch], Mask]:
    return lambda batch: _of_rows(batch[name], _are_blank)


def _are_blank(texts: pa.StringArray) -> Mask:
    return _numpy(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0))


CHECKS: tuple[tuple[str, Callable[[pa.RecordBatch], Mask]], ...] = (
    ("the id is missing", _is_null("id")),
    ("the question is missing", _is_null("question")),
    ("the context is missing", _is_null("context")),
    (NOT_UTF8, _is_not_utf8),
    ("the id is empty", _is_blank("id")),
    ("the question is empty", _is_blank("question")),
    ("the context is empty", _is_blank("context")),
)
