"""Which questions are faulty, and why: checks over whole Arrow columns, and the quarantine.

A row has the first fault of CHECKS that applies. A check sees only the rows that passed those
before it, and so relies on them (no text is null, all are UTF-8, every answer has an offset).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.schema import RAW, TEXT_COLUMNS, text_bytes

Mask = np.ndarray  # bool, one per row of the batch
_ROWS_PER_BATCH = 32_768  # bounds the memory of a check, whatever the size of the table


def find(table: pa.Table) -> list[tuple[int, str]]:
    """Find the faulty rows.

    Args:
        table: As `schema.conform` returns it.

    Returns:
        Pairs (row, reason) in the order of rows. Of several rows with one id, the first is good.
    """
    reasons = np.zeros(table.num_rows, np.int16)
    first = 0
    for batch in table.to_batches(max_chunksize=_ROWS_PER_BATCH):
        reasons[first : first + len(batch)] = _check(batch)
        first += len(batch)
    good = np.flatnonzero(reasons == 0)
    codes = table["id"].take(good).combine_chunks().dictionary_encode().indices.to_numpy()
    repeats = np.ones(len(good), bool)
    repeats[np.unique(codes, return_index=True)[1]] = False
    reasons[good[repeats]] = len(CHECKS) + 1
    names = [reason for reason, _ in CHECKS] + ["another row has the same id"]
    return [(int(row), names[reasons[row] - 1]) for row in np.flatnonzero(reasons)]


def records(rows: pa.Table, located: Sequence[tuple[str, int, str]]) -> Iterator[str]:
    r"""Yield faulty rows as JSON lines.

    Args:
        rows: The faulty rows only. Bytes that are not UTF-8 are written as `\xNN`.
        located: Of each row: its file, its row number there, and what is wrong.
    """
    for (file, row, reason), content in zip(located, rows.cast(RAW).to_pylist(), strict=True):
        record = {"file": file, "row": row, "reason": reason, **content}
        yield json.dumps(record, ensure_ascii=False, default=_readable) + "\n"


def _readable(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


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


def _lists(batch: pa.RecordBatch) -> tuple[pa.ListArray, pa.ListArray]:
    return tuple(pc.struct_field(batch["answers"], name) for name in ("text", "answer_start"))


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


def _is_null(batch: pa.RecordBatch) -> Mask:
    lists = _lists(batch)
    columns = [batch[name] for name in TEXT_COLUMNS]
    mask = np.logical_or.reduce([_numpy(column.is_null()) for column in (*columns, *lists)])
    for column in lists:
        mask |= _rows_where(_numpy(column.flatten().is_null()), column)
    return mask


def _is_not_utf8(batch: pa.RecordBatch) -> Mask:
    texts, _ = _lists(batch)
    mask = _rows_where(_not_utf8(texts.flatten()), texts)
    for name in TEXT_COLUMNS:
        mask |= _not_utf8(batch[name])
    return mask


def _not_utf8(strings: pa.StringArray) -> Mask:
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:  # some text is not: look at all of them
        texts = strings.cast(pa.binary()).to_pylist()
        return np.array([text.decode(errors="ignore").encode() != text for text in texts])
    return np.zeros(len(strings), bool)


def _is_blank(name: str) -> Callable[[pa.RecordBatch], Mask]:
    return lambda batch: _numpy(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(batch[name])), 0))


def _has_uneven_answers(batch: pa.RecordBatch) -> Mask:
    texts, starts = _lists(batch)
    return _numpy(pc.not_equal(pc.list_value_length(texts), pc.list_value_length(starts)))


def _has_empty_answer(batch: pa.RecordBatch) -> Mask:
    texts, _ = _lists(batch)
    return _rows_where(_numpy(pc.equal(pc.binary_length(texts.flatten()), 0)), texts)


def _has_misplaced_answer(batch: pa.RecordBatch) -> Mask:
    """Whether the context holds another text than the answer at its offset.

    Offsets count characters and texts are UTF-8 bytes: where the characters of each distinct
    context begin translates one to the other.
    """
    texts, starts = _lists(batch)
    answers, begin = texts.flatten(), _numpy(starts.flatten())
    contexts = batch["context"].dictionary_encode()
    context = _numpy(contexts.indices)[_rows_of_elements(texts)]  # of each answer
    context_bytes, context_offsets = text_bytes(contexts.dictionary)
    char_bytes = np.flatnonzero((context_bytes & 0xC0) != 0x80)  # (chars,): no continuation byte
    first_char = np.searchsorted(char_bytes, context_offsets)

    num_chars = np.diff(first_char)[context]
    wrong = (begin < 0) | (begin > num_chars - _numpy(pc.utf8_length(answers)))
    inside = np.flatnonzero(~wrong)
    # Answers are not empty here, so one inside of the context begins at one of its characters.
    begin_byte = char_bytes[first_char[context[inside]] + begin[inside]]
    answer_bytes, answer_offsets = text_bytes(answers.take(pa.array(inside)))
    counterpart = np.arange(len(answer_bytes))
    counterpart += np.repeat(begin_byte - answer_offsets[:-1], np.diff(answer_offsets))
    # An answer that fits in characters exceeds the last byte only if an earlier byte differs.
    np.minimum(counterpart, len(context_bytes) - 1, out=counterpart)
    differ = np.flatnonzero(answer_bytes != context_bytes[counterpart])
    wrong[inside[np.searchsorted(answer_offsets, differ, side="right") - 1]] = True
    return _rows_where(wrong, texts)


CHECKS: tuple[tuple[str, Callable[[pa.RecordBatch], Mask]], ...] = (
    ("a field is null", _is_null),
    ("a text is not valid UTF-8", _is_not_utf8),
    ("the id is empty", _is_blank("id")),
    ("the question is empty", _is_blank("question")),
    ("the context is empty", _is_blank("context")),
    ("answer texts and offsets differ in number", _has_uneven_answers),
    ("an answer is empty", _has_empty_answer),
    ("an answer does not stand at its offset in the context", _has_misplaced_answer),
)
