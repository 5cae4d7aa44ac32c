"""Bring a table of questions, however its columns are named and typed, to one set of columns."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data import answers
from qa_lib.data.answer_values import (
    OF_MANY_THINGS,
    START_NAMES,
    VAGUE_START_NAMES,
    text_field,
)
from qa_lib.data.answers import Unclear, differing
from qa_lib.data.conversion import (
    WrongType,
    is_list,
    is_text,
    lengths,
    plain,
    to_booleans,
    to_json,
    to_shared,
    to_texts,
)
from qa_lib.data.schema import TEXT_COLUMNS, UNCHECKED
from qa_lib.errors import DataError

ROWS_PER_BATCH = 8192
"""Rows that are converted and checked at a time, which bounds the memory of both."""
CONTEXT_NAMES = ("context", "passage", "paragraph", "document_text")
_OF_ANYTHING = ("uid", "guid", "uuid", "key")
_VAGUE = frozenset({OF_MANY_THINGS, "key"})  # known in tables alone, and by their values
_NAMES = {
    "id": (
        *("id", "_id", "qid", "question_id", "qas_id", "query_id", "example_id"),
        *_OF_ANYTHING,
    ),
    "title": ("title", "document_title"),
    "context": CONTEXT_NAMES,
    "question": ("question", "query", "question_text"),
    "answers": (
        *("answers", "answer", "answer_text", "answer_texts", "gold"),
        *("answers.text", "answer.text", "answers_text"),  # as pandas flattens structs
    ),
    "answer_start": (
        *START_NAMES,
        *("answers.answer_start", "answer.answer_start", "answers_answer_start", "answers_start"),
        OF_MANY_THINGS,
    ),
    "is_impossible": (
        "is_impossible",
        "impossible",
        "no_answer",
        "unanswerable",
        "is_unanswerable",
    ),
    "is_answerable": ("is_answerable", "answerable"),
}
ASKED = ["id", "question", "context"]
"""What answering a question takes."""
OF_LABELS = ("answers", "answer_start", "is_impossible", "is_answerable")
KNOWN_NAMES = frozenset(name for names in _NAMES.values() for name in names) - _VAGUE | {
    "detected_answers"
}
HELD = b"qa-suite-columns"
"""In a table's metadata: the names of all columns of its file, where the table has but some."""
BLANK_ROWS = b"qa-suite-blank-rows"
"""In a table's metadata, as JSON: the numbers of the rows of its file that were left out."""
SHARED_NAMES = frozenset(_NAMES["context"] + _NAMES["title"])
ID_NAMES = frozenset(_NAMES["id"])
QUESTION_NAMES = frozenset(_NAMES["question"])
OFFSET_NAMES = frozenset(_NAMES["answer_start"])
ANSWER_NAMES = OFFSET_NAMES.union(_NAMES["answers"])
OUTER_NAMES = SHARED_NAMES | ID_NAMES
"""What an article or paragraph has without any questions."""
TEXT_NAMES = frozenset(name for what in TEXT_COLUMNS for name in _NAMES[what])
EXPECTED = (
    "The columns are question, context, and answers: text and answer_start, or only the text; id, "
    "title and is_impossible may be there. Name others with --data.columns, such as "
    "question=q,context=passage,answer=a; is_impossible= leaves one out. SQuAD's nested JSON is "
    "read as it is."
)


def normalise(table: pa.Table, name: str, mapping: Mapping[str, str] | None = None) -> pa.Table:
    """Bring a table to the columns and types of UNCHECKED, whatever its encodings and widths.

    Offsets become int64, and int32 only once checked: one beyond int32 spoils its row, not the
    file. Integer ids become text; an absent id or title is null; answers may be a struct of lists,
    a list of structs, a list of texts, one text, or flat columns. Other columns are dropped.

    Args:
        table: As read.
        name: What was read, for messages.
        mapping: Names of columns by what they are, before the usual names.

    Raises:
        DataError: Columns are missing or have other types; all of them are named.
    """
    mapping = mapping or {}
    found = _located(table, name, mapping)
    problems = [f"{what} is missing" for what in ("context", "question") if what not in found]
    for what, columns in found.items():
        kind = next(iter(columns.values())).type
        if what in ("context", "question") and not _may_be(what, kind):
            problems.append(f"{what} is {kind}, not text")
        elif what == "answers" and pa.types.is_struct(kind) and not _may_be(what, kind):
            problems.append("answers.text is missing")
    if not problems:
        try:
            converted = _converted(found, with_own_starts="answer_start" not in mapping)
            return converted.replace_schema_metadata(_metadata(table, BLANK_ROWS))
        except Unclear as error:
            row = f"{name} row {row_in_file(table, error.row)} (counted from 0)"
            raise DataError(f"{row} {error.problem}.", error.remedy) from None
        except WrongType as error:
            problems.append(str(error))
    holds = f"{'; '.join(problems)}; it has {_held(table)}"
    raise DataError(f"{name} is not a table of questions: {holds}.", EXPECTED)


def others(table: pa.Table, name: str, mapping: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the values of the columns that are none of ASKED, as JSON has them.

    A name that an earlier column has, or none, is followed by the column's number from 1.

    Args:
        table: As read.
        name: What was read, for messages.
        mapping: As `normalise` takes it.
    """
    located = _located(table, name, mapping)
    asked = {next(iter(located[what])) for what in ASKED if what in located}
    kept: dict[str, list[Any]] = {}
    for number, (own, column) in enumerate(zip(table.column_names, table.columns, strict=True), 1):
        if own not in asked:
            is_told = own and own not in kept and own not in ASKED
            kept[own if is_told else f"{own or 'column'} {number}"] = to_json(column)
    return kept


def row_in_file(table: pa.Table, row: int) -> int:
    """Return the number that a row of a table has in its file, whose blank rows count too."""
    for blank in _numbers(_metadata(table, BLANK_ROWS).get(BLANK_ROWS, b"[]")):
        row += blank <= row
    return row


@lru_cache(4)
def _numbers(noted: bytes) -> tuple[int, ...]:
    return tuple(json.loads(noted))


def _metadata(table: pa.Table, key: bytes) -> dict[bytes, bytes]:
    return {own: value for own, value in (table.schema.metadata or {}).items() if own == key}


def _held(table: pa.Table) -> str:
    """Return the names of the columns of the file, for messages."""
    held = _metadata(table, HELD).get(HELD, b"").decode("utf-8", "replace")
    return held or ", ".join(table.column_names) or "no columns"


_Columns = dict[str, dict[str, pa.ChunkedArray]]  # by what they are, then by their names


def _located(table: pa.Table, name: str, mapping: Mapping[str, str]) -> _Columns:
    """Return the columns of the table that are wanted; of several, each may have what others lack.

    Those come first that are first in _NAMES, and those without any value only if there is no
    other.
    """
    columns = list(zip(table.column_names, table.columns, strict=True))
    filled = [own for own, column in columns if _has_values(column)]
    _check_names(table.column_names, filled, mapping, name)
    by_name = {plain(own): own for own in [*reversed(table.column_names), *filled]}
    located: _Columns = {}
    for what, names in _NAMES.items():
        if what in mapping:
            if mapping[what]:
                located[what] = {mapping[what]: _mapped(table, name, what, mapping[what])}
            continue
        found = [by_name[own] for own in names if own in by_name]
        found = [own for own in found if not pa.types.is_null(table[own].type)]
        if what == "id":
            found = [own for own in found if _is_id(own, table[own])]
        if what == "answer_start":
            found = [
                own for own in found if plain(own) != OF_MANY_THINGS or _are_spans(table[own].type)
            ]
        first, *others = [own for own in found if own in filled] or found[:1] or [None]
        if first is not None:
            others = [own for own in others if _may_be(what, table[own].type)]
            if what == "answer_start":
                others = [own for own in others if plain(own) not in VAGUE_START_NAMES]
            located[what] = {own: table[own] for own in (first, *others)}
    own = by_name.get("text")
    if own and "answers" not in {*located, *mapping} and "context" in located:
        # As notebooks flatten SQuAD; without an offset it might be anything.
        if not all(plain(start) in VAGUE_START_NAMES for start in located.get("answer_start", ())):
            located["answers"] = {own: table[own]}
    return located


def _are_spans(kind: pa.DataType) -> bool:
    """Whether a type is that of MRQA's spans: {start, end} of each gold, all places of either."""
    return (
        is_list(kind)
        and pa.types.is_struct(kind.value_type)
        and any(field.name == "start" and is_list(field.type) for field in kind.value_type)
    )


def _has_values(column: pa.ChunkedArray) -> bool:
    """Whether a column has any value; lists without one, also those of a struct, are none."""
    if pa.types.is_struct(column.type):
        parts = (part for chunk in column.chunks for part in chunk.flatten())
        return any(_has_values(pa.chunked_array([part])) for part in parts)
    if is_list(column.type):
        return any(lengths(chunk).any() for chunk in column.chunks)
    return bool(column.null_count < len(column))


def _is_id(own: str, column: pa.ChunkedArray) -> bool:
    """Whether a column of a usual name tells questions apart: a `uuid` may be the passage's."""
    if plain(own) not in _OF_ANYTHING:
        return True
    try:
        texts = pa.chunked_array([to_texts(chunk, "id") for chunk in column.chunks])
    except WrongType:
        return False
    return len(texts.drop_null().unique()) == len(texts) - texts.null_count


def _may_be(what: str, kind: pa.DataType) -> bool:
    """Whether a column of a type can be what its name says."""
    if what == "answers":
        is_gold = not pa.types.is_struct(kind) or text_field(field.name for field in kind)
        return bool(is_gold) and not pa.types.is_boolean(kind)
    if what in ("question", "context"):  # workbooks and JSON have questions such as 42
        return is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return what in ("id", "title", "answer_start") or not pa.types.is_nested(kind)


def _check_names(
    names: list[str], filled: list[str], mapping: Mapping[str, str], name: str
) -> None:
    """Refuse several columns of one name, and several with values whose names differ in spelling.

    Raises:
        DataError: Which of them is meant, only the user knows.
    """
    counts, spellings = Counter(names), Counter(map(plain, filled))
    named = {part for path in mapping.values() for part in (path, path.split(".")[0])}
    usual = {own for what in _NAMES if what not in mapping for own in _NAMES[what]} - _VAGUE
    same = [
        own for own in counts if counts[own] > 1 and (own in named or plain(own) in KNOWN_NAMES)
    ]
    alike = [own for own in filled if spellings[plain(own)] > 1 and plain(own) in usual]
    if twice := dict.fromkeys([*same, *alike]):
        raise DataError(
            f"{name} has several columns of one name: {', '.join(twice)}.",
            "Rename or remove all of them but one, or name it with --data.columns.",
        )


def _mapped(table: pa.Table, name: str, what: str, path: str) -> pa.ChunkedArray:
    """Return the column that the user named, such as q or labels.text; names may have dots too."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        own, fields = ".".join(parts[:end]), parts[end:]
        if own in table.column_names:
            with suppress(pa.ArrowException):
                chunks = [_field(chunk, fields) for chunk in table[own].chunks]
                return pa.chunked_array(chunks) if fields and chunks else table[own]
    raise DataError(
        f"{name} has no column {path}, which --data.columns names for {what}; it has "
        f"{_held(table)}.",
        "Correct --data.columns.",
    )


def _field(column: pa.Array, fields: list[str]) -> pa.Array:
    """Return a field of a field of structs, also of those in lists."""
    if not fields:
        return column
    if not is_list(column.type):
        return _field(pc.struct_field(column, fields[0]), fields[1:])
    offsets = np.concatenate([[0], np.cumsum(lengths(column))])
    values = _field(column.flatten(), fields)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=column.is_null())


def _converted(found: _Columns, *, with_own_starts: bool) -> pa.Table:
    """Convert columns a batch at a time.

    Raises:
        WrongType: A column cannot be what its name says.
        Unclear: A row can be read in two ways.
    """
    places = [(what, own) for what, columns in found.items() for own in columns]
    table = pa.table([found[what][own] for what, own in places], [own for _, own in places])
    batches, num_rows = [], 0
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        columns: dict[str, dict[str, pa.Array]] = {}
        for (what, own), column in zip(places, batch.columns, strict=True):
            columns.setdefault(what, {})[own] = column
        try:
            batches.append(_batch(columns, len(batch), with_own_starts))
        except Unclear as error:
            error.row += num_rows
            raise
        num_rows += len(batch)
    return pa.Table.from_batches(batches, UNCHECKED)


def _batch(
    found: dict[str, dict[str, pa.Array]], length: int, with_own_starts: bool
) -> pa.RecordBatch:
    """Convert the columns that `_located` found, by what they are and their names."""
    columns = {what: _combined(found.get(what, {}), what, length) for what in TEXT_COLUMNS}
    columns["answers"] = answers.convert(
        found.get("answers", {}),
        found.get("answer_start", {}),
        columns["context"],
        with_own_starts=with_own_starts,
    )
    said = pa.nulls(length, pa.bool_())
    for what in ("is_impossible", "is_answerable"):
        for own, column in found.get(what, {}).items():
            values = to_booleans(column, own)
            values = values if what == "is_impossible" else pc.invert(values)
            # One that says so is enough: what contradicts it is a fault of the row.
            said = pc.coalesce(pc.or_kleene(said, values), said, values)
    columns["is_impossible"] = said
    return pa.RecordBatch.from_pydict(columns, UNCHECKED)


def _combined(found: dict[str, pa.Array], what: str, length: int) -> pa.Array:
    """Return the texts of a column, or of several that each fill the gaps of those before.

    Raises:
        Unclear: A row has different questions, or contexts; ids and titles it may have several of.
    """
    is_shared = what in ("title", "context")
    if len(found) < 2:
        convert = to_shared if is_shared else to_texts
        column = next(iter(found.values()), pa.nulls(length, pa.string()))
        return convert(column, what)
    (first, combined), *others = ((own, to_texts(found[own], what)) for own in found)
    for name, other in others:
        own, more = pc.ascii_trim_whitespace(combined), pc.ascii_trim_whitespace(other)
        lacks, lacks_other = (pc.equal(pc.coalesce(text, ""), "") for text in (own, more))
        differ = pc.and_not(pc.not_equal(own, more), pc.or_(lacks, lacks_other)).fill_null(False)
        if what in ("question", "context") and pc.any(differ).as_py():
            raise differing(pc.index(differ, True).as_py(), what, first, name)
        combined = pc.if_else(pc.and_not(lacks, lacks_other), other, combined)
    return to_shared(combined, what) if is_shared else combined


def identify(table: pa.Table) -> pa.Table:
    """Give rows without id their number, and rows without title one title for each context."""
    ids = table["id"].cast(pa.binary())  # may be any bytes
    blank = pc.equal(pc.binary_length(pc.ascii_trim_whitespace(table["id"])), 0)
    ids = pc.if_else(blank.fill_null(False), None, ids)
    if ids.null_count:
        own, numbers = set(ids.to_pylist()), [f"row-{n}" for n in range(table.num_rows)]
        while not own.isdisjoint(number.encode() for number in numbers):
            numbers = [f"{number}-{table.num_rows}" for number in numbers]
        ids = pc.coalesce(ids, pa.array(numbers, pa.binary())).cast(pa.string(), safe=False)
        table = table.set_column(0, "id", ids)
    return pa.Table.from_batches([_titled(batch) for batch in table.to_batches()], table.schema)


def _titled(batch: pa.RecordBatch) -> pa.RecordBatch:
    titles, contexts = batch["title"], batch["context"]
    blank = titles.is_null()
    if len(titles.dictionary):
        is_empty = pc.equal(pc.binary_length(titles.dictionary), 0)
        blank = pc.or_(blank, is_empty.take(titles.indices).fill_null(True))
    if not pc.any(blank).as_py():
        return batch
    raw = contexts.dictionary.cast(pa.binary()).to_pylist()
    names = [f"context {hashlib.sha256(text).hexdigest()[:12]}" for text in raw]
    made = pa.array(names, pa.string()).take(contexts.indices)
    filled = pc.if_else(blank, made, titles.dictionary_decode()).dictionary_encode()
    return batch.set_column(1, batch.schema.field("title"), filled)
