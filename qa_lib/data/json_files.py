"""Questions in JSON: JSON lines, and the nested form in which SQuAD 1.1 and 2.0 are published."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.json

from qa_lib.data.schema import EXPECTED, RAW, UNCHECKED
from qa_lib.errors import DataError
from qa_lib.runs import json_text

_BLOCK_BYTES = 1 << 24  # of pyarrow's reader: no line may be longer


def read(content: pa.Buffer, name: str) -> pa.Table:
    """Read a JSON file of either form; its first line tells which one it is.

    Args:
        content: The bytes of the file.
        name: The name of the file, for messages.

    Returns:
        The columns that the file has, for `schema.conform`. A text that is not UTF-8 is kept, so
        that only its row is rejected.

    Raises:
        DataError: It is of neither form, or cut off.
    """
    data = content.to_pybytes().removeprefix(b"\xef\xbb\xbf").lstrip()  # a byte-order mark
    try:
        document = json_text.parse(_decode(data[: (data.find(b"\n") + 1) or None]))
        if isinstance(document, dict) and "data" not in document:
            return _read_lines(data, name)
    except ValueError:  # a document over several lines, or damaged
        try:
            document = json_text.parse(_decode(data))
        except ValueError as error:
            raise DataError(
                f"{name} is not JSON, or is cut off: {error}.", "Fetch or write it again."
            ) from None
    return _read_nested(document, name)


def _read_nested(document: Any, name: str) -> pa.Table:
    rows = []
    where = "the document"
    try:
        for number, article in enumerate(document["data"]):
            where = f"article {number}"
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    row = {
                        "id": question.get("id"),
                        "title": article.get("title"),
                        "context": paragraph.get("context"),
                        "question": question.get("question"),
                    }
                    if (answers := question.get("answers")) is not None:
                        row["answers"] = {
                            "text": [answer.get("text") for answer in answers],
                            "answer_start": [answer.get("answer_start") for answer in answers],
                        }
                    rows.append(row)
    except (KeyError, TypeError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{name} is not in the official SQuAD form: {where}: {why}.",
            "Expected data -> paragraphs -> context and qas -> id, question, answers.",
        ) from None
    return _table(rows, name)


def _read_lines(data: bytes, name: str) -> pa.Table:
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(data),
            pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES),
            pyarrow.json.ParseOptions(
                explicit_schema=UNCHECKED, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:  # whose message counts lines from the start of a block
        return _read_line_by_line(data, name)
    return _without_null_columns(table)


def _read_line_by_line(data: bytes, name: str) -> pa.Table:
    """Read JSON lines that pyarrow rejects: name the faulty line, or keep a text that is not UTF-8.

    Raises:
        DataError: A line is not JSON, or not a question.
    """
    rows = []
    for number, line in enumerate(_decode(data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json_text.parse(line)
            if not isinstance(row, dict) or not isinstance(row.get("answers") or {}, dict):
                raise ValueError("it or its answers are not a JSON object")
            rows.append(row)
        except ValueError as error:  # a JSONDecodeError is one
            raise DataError(
                f"{name}, line {number}: not a question: {error}.",
                f"Each line must be one JSON object. {EXPECTED}",
            ) from None
    return _table(rows, name)


def _table(rows: list[dict[str, Any]], name: str) -> pa.Table:
    """Return rows as Arrow; lone surrogates become bytes that are not UTF-8."""
    try:
        try:
            table = pa.Table.from_pylist(rows, UNCHECKED)
        except UnicodeEncodeError:
            table = pa.Table.from_pylist(_encoded(rows), RAW).cast(UNCHECKED, safe=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{name} holds a value of a wrong type: {error}.", EXPECTED) from None
    return _without_null_columns(table)


def _decode(data: bytes) -> str:
    """Decode bytes; what is not UTF-8 becomes lone surrogates, for `_encoded`."""
    return data.decode("utf-8", "surrogateescape")


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
