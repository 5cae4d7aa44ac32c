"""Questions in JSON: JSON lines, and the nested form in which SQuAD 1.1 and 2.0 are published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from qa_lib.data.schema import EXPECTED, TEXT_COLUMNS, UNCHECKED
from qa_lib.errors import DataError

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
        document = json.loads(_decode(data[: (data.find(b"\n") + 1) or None]))
        if isinstance(document, dict) and "data" not in document:
            return _read_lines(data, name)
    except json.JSONDecodeError:  # a document over several lines, or damaged
        try:
            document = json.loads(_decode(data))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{name} is not JSON, or is cut off: {error}.", "Fetch or write it again."
            ) from None
    return _read_nested(document, name)


@dataclass
class _Columns:
    """Questions as Python lists, with each context once, before they become Arrow."""

    texts: dict[str, list[str | None]] = field(
        default_factory=lambda: {column: [] for column in TEXT_COLUMNS}
    )
    paragraph: list[int] = field(default_factory=list)  # of each question: which context and title
    num_answers: list[int | None] = field(default_factory=list)  # None: the list is missing
    num_starts: list[int | None] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    starts: list[int | None] = field(default_factory=list)

    def add_paragraph(self, title: str | None, context: str | None) -> None:
        self.texts["title"].append(title)
        self.texts["context"].append(context)

    def add_question(self, question: dict[str, Any], texts: Any, starts: Any) -> None:
        """Add a question on the last paragraph, with its answers' texts and offsets."""
        self.paragraph.append(len(self.texts["context"]) - 1)
        self.texts["id"].append(question.get("id"))
        self.texts["question"].append(question.get("question"))
        for values, counts, new in (
            (self.answers, self.num_answers, texts),
            (self.starts, self.num_starts, starts),
        ):
            counts.append(None if new is None else len(new))
            values.extend(new or ())

    def table(self, name: str) -> pa.Table:
        """Return them as Arrow, without columns that are null everywhere: the file lacks them."""
        try:
            columns = {column: _text_array(values) for column, values in self.texts.items()}
            answers = _list_array(self.num_answers, _text_array(self.answers))
            starts = _list_array(self.num_starts, pa.array(self.starts, pa.int64()))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(f"{name} holds a value of a wrong type: {error}.", EXPECTED) from None
        for column in ("title", "context"):
            columns[column] = columns[column].take(pa.array(self.paragraph, pa.int64()))
        columns["answers"] = pa.StructArray.from_arrays([answers, starts], ["text", "answer_start"])
        return _without_null_columns(pa.table(columns))


def _read_nested(document: Any, name: str) -> pa.Table:
    columns = _Columns()
    where = "the document"
    try:
        for number, article in enumerate(document["data"]):
            where = f"article {number}"
            for paragraph in article["paragraphs"]:
                columns.add_paragraph(article.get("title"), paragraph.get("context"))
                for question in paragraph["qas"]:
                    answers = question.get("answers")
                    if answers is None:
                        columns.add_question(question, None, None)
                        continue
                    texts = [answer.get("text") for answer in answers]
                    starts = [answer.get("answer_start") for answer in answers]
                    columns.add_question(question, texts, starts)
    except (KeyError, TypeError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{name} is not in the official SQuAD form: {where}: {why}.",
            "Expected data -> paragraphs -> context and qas -> id, question, answers.",
        ) from None
    return columns.table(name)


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
    columns = _Columns()
    for number, line in enumerate(_decode(data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            columns.add_paragraph(row.get("title"), row.get("context"))
            answers = row.get("answers") or {}
            columns.add_question(row, answers.get("text"), answers.get("answer_start"))
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            raise DataError(
                f"{name}, line {number}: not a question: {error}.",
                f"Each line must be one JSON object. {EXPECTED}",
            ) from None
    return columns.table(name)


def _decode(data: bytes) -> str:
    """Decode bytes; what is not UTF-8 becomes lone surrogates, for `_text_array`."""
    return data.decode("utf-8", "surrogateescape")


def _text_array(texts: Sequence[str | None]) -> pa.StringArray:
    """Return texts as Arrow; lone surrogates become bytes that are not UTF-8."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        encoded = [None if text is None else _encode(text) for text in texts]
        return pa.array(encoded, pa.binary()).view(pa.string())


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # the bytes that the file had
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")  # an escape such as \\ud800


def _list_array(counts: Sequence[int | None], values: pa.Array) -> pa.ListArray:
    lengths = [count or 0 for count in counts]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    missing = pa.array([count is None for count in counts], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=missing)


def _without_null_columns(table: pa.Table) -> pa.Table:
    if table.num_rows == 0:
        return table
    return table.select([n for n in table.column_names if table[n].null_count < table.num_rows])
