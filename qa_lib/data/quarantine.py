"""Faulty rows: written to the quarantine, and named where they are too many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib.data import golds
from qa_lib.data.columns import row_in_file
from qa_lib.data.conversion import AS_UTF8, NO_OFFSET
from qa_lib.data.schema import NOWHERE, RAW, TEXT_COLUMNS
from qa_lib.data.validation import CHECKS, NOT_UTF8, REPEATED_ID
from qa_lib.errors import DataError
from qa_lib.runs.folder import Folder

if TYPE_CHECKING:
    from qa_lib.config import DataSettings

_SHOWN_CHARACTERS = 60  # of a value, in messages
_FIELDS = {
    reason: field for reason, _ in CHECKS for field in TEXT_COLUMNS if f" {field} " in reason
} | {REPEATED_ID: "id"}


def set_aside(
    table: pa.Table,
    parts: list[tuple[str, pa.Table]],
    bad: list[tuple[int, str]],
    data: DataSettings,
    split: str,
    directory: str | None,
) -> None:
    """Write the faulty rows to the quarantine.

    Raises:
        DataError: There are more faulty rows than `data.bad_row_limit` allows.
    """
    ends = np.cumsum([len(part) for _, part in parts])
    located = []
    for row, reason in bad:
        part = int(np.searchsorted(ends, row, side="right"))
        name, table_of_part = parts[part]
        in_part = row - int(ends[part]) + len(table_of_part)
        located.append((name, row_in_file(table_of_part, in_part), reason))
    rows = table.take([row for row, _ in bad])
    where = ""
    if directory is not None:
        name = f"quarantine-{split}.jsonl"
        Folder(directory).write_text(name, "".join(records(rows, located)))
        where = f" All of them are in {directory}/{name}."
    if len(bad) > data.bad_row_limit * table.num_rows:
        counts = Counter(reason for _, reason in bad)
        examples = "; ".join(
            f"{name} row {row}: {reason} ({detail(content, reason)})"
            for (name, row, reason), content in zip(
                located[:3], rows.slice(0, 3).cast(RAW).to_pylist(), strict=True
            )
        )
        raise DataError(
            f"{len(bad):,} of {table.num_rows:,} rows cannot be used, more than "
            f"data.bad_row_limit {data.bad_row_limit:g} allows: "
            + ", ".join(f"{count:,} because {reason}" for reason, count in counts.most_common())
            + f". First (rows count from 0): {examples}.{where}",
            _remedy(counts, len(bad) / table.num_rows),
        )


def _remedy(counts: Counter[str], fraction: float) -> str:
    """Say what to do about faulty rows; those that may be unanswerable are not to be given up."""
    if counts[NOT_UTF8] == max(counts.values()):
        return AS_UTF8
    if any(counts[reason] for reason in golds.WITHOUT_ANSWER):
        return (
            "Say of every question which it is: unanswerable (is_impossible true, no answers), or "
            "answerable (answers, is_impossible false or absent). Leaving these rows out would "
            "leave out unanswerable questions."
        )
    if fraction == 1:
        of_offsets = counts[golds.UNREADABLE] or counts[golds.MISPLACED]
        leave_out = " Golds are looked for by their text with --data.columns answer_start=."
        return f"Repair these rows.{leave_out if of_offsets else ''}"
    return (
        "Repair or remove these rows, or accept their loss with --data.bad-row-limit "
        f"{_round_up(fraction)}."
    )


def _round_up(fraction: float) -> float:
    """Round a fraction up to two significant digits."""
    digits = 1 - int(np.floor(np.log10(fraction)))
    return min(1.0, round(float(np.ceil(fraction * 10**digits)) / 10**digits, digits))


def detail(row: dict[str, Any], reason: str) -> str:
    """Return the id of a faulty row and the value that is at fault, for messages."""
    if reason == NOT_UTF8:
        return f"id {_shown(row.get('id'))}, {_undecodable(row)}"
    field = _FIELDS.get(reason, "answers")
    value = row.get(field)
    if isinstance(value, dict):
        texts, starts = value.get("text") or [], _starts(value)
        value = [
            ("null" if text is None else _shown(text)) + ("" if start is None else f" at {start}")
            for text, start in zip_longest(texts, starts)
        ]
        return f"id {_shown(row.get('id'))}, {field}: {', '.join(value) or 'none'}"
    return f"id {_shown(row.get('id'))}, {field}: {_shown(value)}"


def _starts(answers: dict[str, Any]) -> list[int | str | None]:
    """Return the offsets of a row's answers: ? where the file has no number, -1 for no place."""
    shown: dict[int | None, int | str] = {NO_OFFSET: "?", NOWHERE: -1}
    return [shown.get(start, start) for start in answers.get("answer_start") or []]


def _undecodable(row: dict[str, Any]) -> str:
    """Return the field of a row that is not UTF-8, and the text before the byte at fault."""
    texts = [(name, row[name]) for name in TEXT_COLUMNS]
    texts += [("answers", text) for text in (row["answers"] or {}).get("text") or []]
    for name, text in texts:
        try:
            (text or b"").decode()
        except UnicodeDecodeError as error:
            return f"{name}: {_shown(text[max(error.start - 30, 0) : error.start + 10])}"
    return "answers"


def _shown(value: object) -> str:
    text = _readable(value) if isinstance(value, bytes) else value
    shown = repr(text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}...'"


def records(rows: pa.Table, located: Sequence[tuple[str, int, str]]) -> Iterator[str]:
    r"""Yield faulty rows as JSON lines.

    Args:
        rows: The faulty rows only. Bytes that are not UTF-8 are written as `\xNN`.
        located: Of each row: its file, its row number there, and what is wrong.
    """
    for (file, row, reason), content in zip(located, rows.cast(RAW).to_pylist(), strict=True):
        record = {"file": file, "row": row, "reason": reason, **content}
        if answers := content["answers"]:
            record["answers"] = answers | {"answer_start": _starts(answers)}
        yield json.dumps(record, ensure_ascii=False, default=_readable) + "\n"


def _readable(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
