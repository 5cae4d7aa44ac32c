"""Questions in JSON: SQuAD's nested form and what tools make of it, arrays of rows, JSON lines.

Every item of a document is an article (`paragraphs`), a paragraph (`qas`) or a row. A document is
a list of items, an object that holds one (`data`), an object of columns, or an item on each line;
a file may hold a document on each line.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.json

from qa_lib.data.answer_values import WrongGold, golds_of
from qa_lib.data.column_names import EXPECTED, KNOWN_NAMES, SHARED_NAMES, TEXT_NAMES
from qa_lib.data.conversion import as_text, encoded, is_list, is_text, plain
from qa_lib.data.json_items import NESTING, is_item, is_wrapped, items_of, walk
from qa_lib.data.json_stream import streamed
from qa_lib.data.layouts import refuse_others
from qa_lib.data.locating import HELD
from qa_lib.data.schema import SHARED
from qa_lib.errors import DataError
from qa_lib.runs import json_text, storage

_BLOCK_BYTES = 1 << 24  # of pyarrow's reader: no line may be longer
_NUM_PEEKED = 64  # lines that tell the types of columns
_LARGE_BYTES = 1 << 23  # documents above are parsed item by item
_ROWS_PER_PART = 2048
_ITEMS_PER_BATCH = 16  # articles have some hundred questions


def read(content: pa.Buffer, name: str, mapped: frozenset[str] = frozenset()) -> pa.Table:
    """Read a JSON file; its first line tells whether every line is an item or a document.

    Args:
        content: The bytes of the file, UTF-8.
        name: The name of the file, for messages.
        mapped: Columns to keep besides those that `columns` knows by name.

    Returns:
        Columns as the file has them, for `columns.normalise`. A text that is not UTF-8 is kept, so
        that only its row is rejected.

    Raises:
        DataError: It is not JSON, cut off, or in the layout of another task.
    """
    known = KNOWN_NAMES | mapped
    if len(content) > _LARGE_BYTES:
        table = _read_streamed(content, name, known)
        if table is not None:
            return table
    if content[:3].to_pybytes() == b"\xef\xbb\xbf":  # a byte-order mark
        content = content[3:]
    lines = _lines(content)
    is_one = True
    try:
        document = _parse(next(lines, (1, b""))[1])
        is_one = next(lines, None) is None
        if isinstance(document, dict) and "data" not in document:
            if is_item(document) or not is_one:
                return _read_lines(content, name, known)
    except ValueError:  # a document over several lines, or damaged
        try:
            document = _parse(memoryview(content))
        except ValueError as error:
            raise DataError(
                f"{name} is not JSON, or is cut off: {error}.", "Fetch or write it again."
            ) from None
    refuse_others(document, name)
    documents = [document] if is_one else _parsed_lines(content, name, type(document))
    items = (item for document in documents for item in items_of(document, name, known))
    return _table(list(walk(items, name, known)), name, known)


def unnest(table: pa.Table, name: str, mapped: frozenset[str] = frozenset()) -> pa.Table:
    """Return the rows of a table of articles, paragraphs or MRQA's questions, others as they are.

    Raises:
        DataError: They hold no questions, or are in the layout of another task.
    """
    known = KNOWN_NAMES | mapped
    refuse_others({field.name: _empty(field.type) for field in table.schema}, name)
    nested = {field.name for field in table.schema if not is_text(field.type)}
    if not {*NESTING[:2], "detected_answers"} & nested:
        return table
    names = [name for name in table.column_names if plain(name) in known or name in NESTING]
    batches = table.select(names).to_batches(max_chunksize=_ITEMS_PER_BATCH)
    items = (item for batch in batches for item in batch.to_pylist())
    return _in_parts(items, name, known)


def _empty(kind: pa.DataType) -> dict[str, Any] | list[Any] | bool | str:
    """Return a value as JSON would have it in place of one of a type: layouts go by names."""
    if pa.types.is_struct(kind):
        return {}
    if pa.types.is_boolean(kind):
        return False
    return [] if is_list(kind) else ""


def _read_streamed(content: pa.Buffer, name: str, known: frozenset[str]) -> pa.Table | None:
    """Read a large document item by item, so that its objects are never in memory as a whole.

    Returns:
        None where the document is of another form, faulty, or of parts that differ in types.
    """
    try:
        return _in_parts(streamed(content), name, known)
    except (ValueError, RecursionError, DataError):
        return None  # read again as a whole, which tells what is wrong


def _in_parts(items: Iterable[Any], name: str, known: frozenset[str]) -> pa.Table:
    """Return the rows of items, of which few are objects at a time.

    Raises:
        DataError: They hold no questions, or of types that differ from part to part.
    """
    rows, tables = walk(items, name, known), []
    while part := list(islice(rows, _ROWS_PER_PART)):
        tables.append(_table(part, name, known))
    try:
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except pa.ArrowException as error:
        raise DataError(
            f"{name} holds a value of a wrong type: {storage.first_line(error)}.", EXPECTED
        ) from None


def _read_lines(content: pa.Buffer, name: str, known: frozenset[str]) -> pa.Table:
    """Read an item on each line: with pyarrow where they are rows of one form."""
    try:
        items = list(islice(_parsed_lines(content, name), _NUM_PEEKED))
        refuse_others(items[0], name)
        peeked = _table(list(walk(items, name, known)), name, known)
    except DataError:
        items, peeked = [], None
        refuse_others(_parse(next(_lines(content))[1]), name)
    are_rows = not any(key in item for item in items[:1] for key in (*NESTING, "header"))
    if peeked is not None and are_rows and not is_wrapped(items[0]):
        # Types are those of the first lines: left alone, pyarrow reads texts that look like dates
        # as dates. A column that comes later is inferred.
        fields = [
            field.with_type(pa.string()) if field.type.equals(SHARED) else field
            for field in peeked.schema
            if "null" not in str(field.type)
        ]
        try:
            table = pyarrow.json.read_json(
                pa.BufferReader(content),
                pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES),
                pyarrow.json.ParseOptions(explicit_schema=pa.schema(fields)),
            )
        except pa.ArrowInvalid:  # whose message counts lines from the start of a block
            pass
        else:
            held = table.column_names
            table = _holding(table.select([n for n in held if plain(n) in known]), held)
            if not any(kind in str(table.schema) for kind in ("timestamp", "double")):
                return _without_null_columns(table)
    return _table(list(walk(_parsed_lines(content, name), name, known)), name, known)


def _parsed_lines(content: pa.Buffer, name: str, kind: type = dict) -> Iterator[Any]:
    """Yield the object, or the list, of each line.

    Raises:
        DataError: A line is not one; it is named.
    """
    for number, line in _lines(content):
        try:
            row = _parse(line)
            if not isinstance(row, kind):
                raise ValueError(f"it is not a JSON {'object' if kind is dict else 'list'}")
        except ValueError as error:  # a JSONDecodeError is one
            raise DataError(
                f"{name}, line {number}: not a question: {error}.",
                f"Each line must be one JSON {'object' if kind is dict else 'list'}. {EXPECTED}",
            ) from None
        yield row


def _lines(content: pa.Buffer) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, and their numbers, without a copy of the whole."""
    stream = io.BufferedReader(pa.BufferReader(content), 1 << 20)
    for number, line in enumerate(stream, start=1):
        if line := line.strip():
            yield number, line


def _table(rows: list[dict[str, Any]], name: str, known: frozenset[str]) -> pa.Table:
    """Return the known columns of rows as Arrow; lone surrogates become bytes that are not UTF-8.

    Raises:
        DataError: A value has no place in a table of questions.
    """
    keys = dict.fromkeys(key for row in rows for key in row)
    names = [key for key in keys if plain(key) in known]
    columns = {}
    for column in names:
        try:
            values = [row.get(column) for row in rows]
            columns[column] = _array(values, plain(column))
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as why:
            where = f": {why}" if isinstance(why, WrongGold) else ""
            raise DataError(
                f"{name} holds a value of a wrong type in {column}{where}.", EXPECTED
            ) from None
    return _without_null_columns(_holding(pa.table(columns), keys))


def _holding(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Note the names of all columns of the file, for messages."""
    return table.replace_schema_metadata({HELD: ", ".join(names)[:500].encode("utf-8", "replace")})


def _array(values: list[Any], column: str) -> pa.Array:
    """Return values as Arrow; where their types differ, all as text, answers as lists of golds."""
    is_shared = column in SHARED_NAMES and all(isinstance(value, str) for value in values)
    try:
        try:
            return pa.array(values, SHARED if is_shared else None)
        except UnicodeEncodeError:
            return pa.array([encoded(value) for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if column in TEXT_NAMES or not any(isinstance(value, dict | list) for value in values):
            return pa.array([encoded(as_text(value)) for value in values]).cast(
                pa.string(), safe=False
            )
        return golds_of(values)


def _parse(data: bytes | memoryview) -> Any:
    """Parse JSON: 1.50 stays the text that it is, what is not UTF-8 becomes lone surrogates."""
    return json_text.parse(str(data, "utf-8", "surrogateescape"), parse_float=str)


def _without_null_columns(table: pa.Table) -> pa.Table:
    """Leave out columns that are null everywhere: the file lacks them."""
    if table.num_rows == 0:
        return table
    return table.select([n for n in table.column_names if table[n].null_count < table.num_rows])
