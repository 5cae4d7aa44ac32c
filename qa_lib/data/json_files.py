"""Questions in JSON: SQuAD's nested form and what tools make of it, arrays of rows, JSON lines.

Every item of a document is an article (`paragraphs`), a paragraph (`qas`) or a row. A document is
a list of items, an object that holds one (`data`), an object of columns, or an item on each line.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.json

from qa_lib.data.columns import CONTEXT_NAMES, EXPECTED, KNOWN_NAMES, TEXT_NAMES, plain
from qa_lib.data.layouts import refuse_others
from qa_lib.errors import DataError
from qa_lib.runs import json_text

_BLOCK_BYTES = 1 << 24  # of pyarrow's reader: no line may be longer
_NUM_PEEKED = 64  # lines that tell the types of columns
_LARGE_BYTES = 1 << 23  # documents above are parsed item by item
_ROWS_PER_PART = 8192
_HEAD = re.compile(
    r'\ufeff?\s*(?P<object>\{(\s*"\w+"\s*:\s*("[^"\\]*"|[\w.+-]+)\s*,)*\s*"data"\s*:\s*)?\['
)
_SPACE = re.compile(r"\s*")
_NESTING = ("paragraphs", "qas")


def read(content: pa.Buffer, name: str, mapped: frozenset[str] = frozenset()) -> pa.Table:
    """Read a JSON file; its first line tells whether every line is an item.

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
        streamed = _read_streamed(content, name, known)
        if streamed is not None:
            return streamed
    if content[:3].to_pybytes() == b"\xef\xbb\xbf":  # a byte-order mark
        content = content[3:]
    lines = _lines(content)
    try:
        document = json_text.parse(_decode(next(lines, (1, b""))[1]))
        if isinstance(document, dict) and "data" not in document:
            if _is_item(document) or next(lines, None) is not None:
                return _read_lines(content, name, known)
    except ValueError:  # a document over several lines, or damaged
        try:
            document = json_text.parse(_decode(memoryview(content)))
        except ValueError as error:
            raise DataError(
                f"{name} is not JSON, or is cut off: {error}.", "Fetch or write it again."
            ) from None
    refuse_others(document, name)
    return _table(list(_walk(_items(document, name), name, known)), name, known)


def _read_streamed(content: pa.Buffer, name: str, known: frozenset[str]) -> pa.Table | None:
    """Read a large document item by item, so that its objects are never in memory as a whole.

    Returns:
        None where the document is of another form, faulty, or of parts that differ in types.
    """
    if _HEAD.match(content[: 1 << 16].to_pybytes().decode("utf-8", "replace")) is None:
        return None
    tables = []
    try:
        rows = _walk(_streamed(str(memoryview(content), "utf-8")), name, known)
        while part := list(islice(rows, _ROWS_PER_PART)):
            tables.append(_table(part, name, known))
    except (ValueError, RecursionError, DataError):
        return None  # read again as a whole, which tells what is wrong
    if not tables or any(not table.schema.equals(tables[0].schema) for table in tables):
        return None
    return pa.concat_tables(tables)


def _streamed(text: str) -> Iterator[Any]:
    """Yield the items of `data`, or of a list, as they are parsed.

    Raises:
        ValueError: The text is not JSON.
    """
    head = _HEAD.match(text)
    assert head is not None
    decoder, at = json.JSONDecoder(), head.end()
    while True:
        item, at = decoder.raw_decode(text, _after_space(text, at))
        refuse_others(item, "")
        yield item
        at = _after_space(text, at)
        if text[at : at + 1] != ",":
            break
        at += 1
    rest = text[at + 1 :].strip()
    if head["object"]:
        json_text.parse("{" + rest.removeprefix(","))
    if text[at : at + 1] != "]" or (rest and not head["object"]):
        raise ValueError("the list does not end")


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _is_item(value: dict[str, Any]) -> bool:
    if any(key in value for key in _NESTING):
        return True
    contexts = [value[key] for key in value if plain(key) in CONTEXT_NAMES]
    return bool(contexts) and not isinstance(contexts[0], dict | list)


def _items(document: Any, name: str) -> list[Any]:
    """Return the articles, paragraphs or rows of a document."""
    if isinstance(document, dict) and "data" not in document:
        if _is_item(document):
            return [document]
        columns = {key: value for key, value in document.items() if isinstance(value, dict | list)}
        if any(plain(key) in CONTEXT_NAMES for key in columns):  # as pandas writes tables
            lists = [
                list(value.values()) if isinstance(value, dict) else value
                for value in columns.values()
            ]
            return [dict(zip(columns, row, strict=False)) for row in zip(*lists, strict=False)]
        lists = [value for value in document.values() if isinstance(value, list)]
        document = {"data": lists[0]} if len(lists) == 1 else document
    if isinstance(document, dict):
        items, header = document.get("data"), document.get("columns")
        if isinstance(header, list) and isinstance(items, list):  # pandas, orient="split"
            items = [dict(zip(map(str, header), row, strict=False)) for row in items]
    else:
        items = document
    if not isinstance(items, list):
        raise DataError(f"{name} holds neither rows nor SQuAD's `data`.", EXPECTED)
    return items


def _walk(items: Iterable[Any], name: str, known: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of items, which all have the form of the first."""
    form: str | None = ""
    for number, item in enumerate(items):
        where = f"article {number}"
        try:
            if isinstance(item, dict) and item.keys() == {"header"}:  # of MRQA
                continue
            if form == "":
                form = next((key for key in _NESTING if key in item), None)
            if form is not None and form not in item:
                raise KeyError(form)
            yield from _rows(item, {}, known)
        except (KeyError, TypeError, AttributeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{name} does not hold questions in a known form: {where}: {why}.", EXPECTED
            ) from None


def _rows(
    item: dict[str, Any], outer: dict[str, Any], known: frozenset[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of an article, a paragraph or a row; `outer` is what is inherited."""
    for key in _NESTING:
        if key in item:
            inherited = outer | {
                own: value
                for own, value in item.items()
                if isinstance(value, str) and own != "id" and plain(own) in known
            }
            for part in item[key] or ():
                yield from _rows(part, inherited, known)
            return
    if not isinstance(item, dict):
        raise TypeError(f"{str(item)[:40]!r} is not an object")
    row = outer | item
    if "detected_answers" in row:
        row["answers"] = _mrqa_answers(row)
    yield row


def _mrqa_answers(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the spans that MRQA found, then the golds without a span."""
    spans = [
        {"text": row["context"][first : last + 1], "answer_start": first}
        for found in row["detected_answers"]
        for first, last in found["char_spans"]
    ]
    texts = {span["text"] for span in spans}
    others = [text for text in row.get("answers") or [] if text not in texts]
    return spans + [{"text": text, "answer_start": None} for text in others]


def _read_lines(content: pa.Buffer, name: str, known: frozenset[str]) -> pa.Table:
    """Read an item on each line: with pyarrow where they are rows of one form."""
    try:
        items = list(islice(_parsed_lines(content, name), _NUM_PEEKED))
        refuse_others(items[0], name)
        peeked = _table(list(_walk(items, name, known)), name, known)
    except DataError:
        items, peeked = [], None
        refuse_others(json_text.parse(_decode(next(_lines(content))[1])), name)
    if peeked is not None and not any(key in items[0] for key in (*_NESTING, "header")):
        # Types are those of the first lines: left alone, pyarrow reads texts that look like dates
        # as dates. A column that comes later is inferred.
        fields = [field for field in peeked.schema if "null" not in str(field.type)]
        try:
            table = pyarrow.json.read_json(
                pa.BufferReader(content),
                pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES),
                pyarrow.json.ParseOptions(explicit_schema=pa.schema(fields)),
            )
        except pa.ArrowInvalid:  # whose message counts lines from the start of a block
            pass
        else:
            table = table.select([n for n in table.column_names if plain(n) in known])
            if "timestamp" not in str(table.schema):
                return _without_null_columns(table)
    return _table(list(_walk(_parsed_lines(content, name), name, known)), name, known)


def _parsed_lines(content: pa.Buffer, name: str) -> Iterator[Any]:
    """Yield the object of each line.

    Raises:
        DataError: A line is not a JSON object; it is named.
    """
    for number, line in _lines(content):
        try:
            row = json_text.parse(_decode(line))
            if not isinstance(row, dict):
                raise ValueError("it is not a JSON object")
        except ValueError as error:  # a JSONDecodeError is one
            raise DataError(
                f"{name}, line {number}: not a question: {error}.",
                f"Each line must be one JSON object. {EXPECTED}",
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
            columns[column] = _array(values, may_nest=plain(column) not in TEXT_NAMES)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError, RecursionError):
            raise DataError(
                f"{name} holds a value of a wrong type in {column}.", EXPECTED
            ) from None
    return _without_null_columns(pa.table(columns))


def _array(values: list[Any], *, may_nest: bool) -> pa.Array:
    """Return values as Arrow; where their types differ, all as text, answers as lists of golds."""
    try:
        try:
            return pa.array(values)
        except UnicodeEncodeError:
            return pa.array([_encoded(value) for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        if not may_nest or not any(isinstance(value, dict | list) for value in values):
            return pa.array([_encoded(_text(value)) for value in values]).cast(
                pa.string(), safe=False
            )
        return pa.array([_encoded(_golds(value)) for value in values])


def _golds(value: Any) -> list[dict[str, Any]] | None:
    """Return the answers of a row, in whatever form, as a list of golds of text."""
    if value is None:
        return None
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if not isinstance(texts, list):
            texts, starts = [texts], [starts]
        starts = starts if isinstance(starts, list) else [None] * len(texts)
        value = [
            {"text": text, "answer_start": start}
            for text, start in zip(texts, starts, strict=len(starts) > 0)
        ]
    elif not isinstance(value, list):
        value = [value]
    golds = [gold if isinstance(gold, dict) else {"text": gold} for gold in value]
    return [{key: _text(gold.get(key)) for key in ("text", "answer_start")} for gold in golds]


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        raise TypeError("a value is nested")
    return value if value is None or isinstance(value, str) else str(value)


def _decode(data: bytes | memoryview) -> str:
    """Decode bytes; what is not UTF-8 becomes lone surrogates, for `_encoded`."""
    return str(data, "utf-8", "surrogateescape")


def _encoded(value: Any) -> Any:
    """Encode all texts of a JSON value."""
    if isinstance(value, dict):
        return {key: _encoded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_encoded(part) for part in value]
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape")  # the bytes that the file had
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")  # an escape such as \\ud800


def _without_null_columns(table: pa.Table) -> pa.Table:
    """Leave out columns that are null everywhere: the file lacks them."""
    if table.num_rows == 0:
        return table
    return table.select([n for n in table.column_names if table[n].null_count < table.num_rows])
