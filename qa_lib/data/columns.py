"""Bring a table of questions, however its columns are named and typed, to one set of columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data import answers
from qa_lib.data.answers import differing
from qa_lib.data.column_names import ASKED, EXPECTED
from qa_lib.data.conversion import (
    WrongType,
    to_booleans,
    to_json,
    to_shared,
    to_texts,
)
from qa_lib.data.locating import Columns, held, located_in, may_be, metadata
from qa_lib.data.pairs import Unclear
from qa_lib.data.schema import TEXT_COLUMNS, UNCHECKED
from qa_lib.errors import DataError

ROWS_PER_BATCH = 8192
"""Rows that are converted and checked at a time, which bounds the memory of both."""
BLANK_ROWS = b"qa-suite-blank-rows"
"""In a table's metadata, as JSON: the numbers of the rows of its file that were left out."""


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
    found = located_in(table, name, mapping)
    problems = [f"{what} is missing" for what in ("context", "question") if what not in found]
    for what, columns in found.items():
        kind = next(iter(columns.values())).type
        if what in ("context", "question") and not may_be(what, kind):
            problems.append(f"{what} is {kind}, not text")
        elif what == "answers" and pa.types.is_struct(kind) and not may_be(what, kind):
            problems.append("answers.text is missing")
    if not problems:
        try:
            converted = _converted(found, with_own_starts="answer_start" not in mapping)
            return converted.replace_schema_metadata(metadata(table, BLANK_ROWS))
        except Unclear as error:
            row = f"{name} row {row_in_file(table, error.row)} (counted from 0)"
            raise DataError(f"{row} {error.problem}.", error.remedy) from None
        except WrongType as error:
            problems.append(str(error))
    holds = f"{'; '.join(problems)}; it has {held(table)}"
    raise DataError(f"{name} is not a table of questions: {holds}.", EXPECTED)


def others(table: pa.Table, name: str, mapping: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the values of the columns that are none of ASKED, as JSON has them.

    A name that an earlier column has, or none, is followed by the column's number from 1.

    Args:
        table: As read.
        name: What was read, for messages.
        mapping: As `normalise` takes it.
    """
    located = located_in(table, name, mapping)
    asked = {next(iter(located[what])) for what in ASKED if what in located}
    kept: dict[str, list[Any]] = {}
    for number, (own, column) in enumerate(zip(table.column_names, table.columns, strict=True), 1):
        if own not in asked:
            is_told = own and own not in kept and own not in ASKED
            kept[own if is_told else f"{own or 'column'} {number}"] = to_json(column)
    return kept


def row_in_file(table: pa.Table, row: int) -> int:
    """Return the number that a row of a table has in its file, whose blank rows count too."""
    for blank in _numbers(metadata(table, BLANK_ROWS).get(BLANK_ROWS, b"[]")):
        row += blank <= row
    return row


@lru_cache(4)
def _numbers(noted: bytes) -> tuple[int, ...]:
    return tuple(json.loads(noted))


def _converted(found: Columns, *, with_own_starts: bool) -> pa.Table:
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
