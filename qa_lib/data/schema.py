"""The schema of all questions, whatever they were read from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.errors import DataError

TEXT_COLUMNS = ("id", "title", "context", "question")


def _schema(text: pa.DataType, offset: pa.DataType) -> pa.Schema:
    answers = pa.struct([("text", pa.list_(text)), ("answer_start", pa.list_(offset))])
    return pa.schema([*((column, text) for column in TEXT_COLUMNS), ("answers", answers)])


SCHEMA = _schema(pa.string(), pa.int32())
"""`answer_start` counts Unicode characters of the context; an unanswerable question has no answers.
"""
UNCHECKED = _schema(pa.string(), pa.int64())  # as `conform` returns it
RAW = _schema(pa.binary(), pa.int64())  # also texts that are not UTF-8
EXPECTED = (
    "The columns are id, title, context, question (text) and answers, a struct of the lists text "
    "and answer_start (integers). Official SQuAD JSON is read as it is."
)

Split = Literal["train", "eval", "holdout"]


@dataclass(frozen=True)
class Questions:
    """The validated questions of a split.

    Attributes:
        table: Rows of SCHEMA in the order of the source, limits applied.
        split: Which split they are.
        source: The name that they were loaded by.
        num_quarantined: Rows of the source that were left out as faulty.
    """

    table: pa.Table
    split: Split
    source: str
    num_quarantined: int = 0

    def __len__(self) -> int:
        """Return the number of questions."""
        return self.table.num_rows

    def __str__(self) -> str:
        """Return the counts, for people."""
        return (
            f"{self.split}: {len(self):,} questions of {len(self.titles):,} articles "
            f"({self.num_quarantined:,} rows quarantined)"
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content, see `schema.fingerprint`."""
        return fingerprint(self.table)

    @cached_property
    def has_unanswerable(self) -> bool:
        """Whether some question has no answer, so that SQuAD 2.0 rules apply."""
        counts = pc.list_value_length(pc.struct_field(self.table["answers"], "text"))
        return bool(pc.any(pc.equal(counts, 0)).as_py())

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """Titles of the articles, in the order in which they appear."""
        return tuple(self.table["title"].unique().to_pylist())


def conform(table: pa.Table, name: str) -> pa.Table:
    """Bring a table to the columns and types of SCHEMA, whatever its encodings and widths.

    Offsets become int64, and int32 only once checked: one beyond int32 spoils its row, not the
    file. Columns that SCHEMA does not have are dropped.

    Args:
        table: As read: strings may be large, viewed or dictionary-encoded, integers of any width.
        name: What was read, for messages.

    Raises:
        DataError: Columns are missing or have other types; all of them are named.
    """
    if problems := list(_problems(table.schema)):
        raise DataError(f"{name} is not a table of questions: {'; '.join(problems)}.", EXPECTED)
    texts = pc.struct_field(table["answers"], "text").cast(pa.list_(pa.string()))
    starts = pc.struct_field(table["answers"], "answer_start")
    starts = starts.cast(pa.list_(pa.int64()), safe=False)
    chunks = [
        pa.StructArray.from_arrays(pair, ["text", "answer_start"])
        for pair in zip(texts.chunks, starts.chunks, strict=True)
    ]
    answers = pa.chunked_array(chunks, UNCHECKED.field("answers").type)
    columns = {column: table[column].cast(pa.string()) for column in TEXT_COLUMNS}
    return pa.table({**columns, "answers": answers})


def _problems(schema: pa.Schema) -> Iterator[str]:
    """Say what a table lacks, or has of another type."""
    for column in TEXT_COLUMNS:
        if column not in schema.names:
            yield f"{column} is missing"
        elif not _is_text(schema.field(column).type):
            yield f"{column} is {schema.field(column).type}, not text"
    if "answers" not in schema.names:
        yield "answers is missing"
    elif not pa.types.is_struct(answers := schema.field("answers").type):
        yield f"answers is {answers}, not a struct of lists"
    else:
        for field, is_wanted, wanted in (
            ("text", _is_text, "text"),
            ("answer_start", pa.types.is_integer, "integers"),
        ):
            if answers.get_field_index(field) < 0:
                yield f"answers.{field} is missing"
            elif not _is_list(kind := answers.field(field).type) or not is_wanted(kind.value_type):
                yield f"answers.{field} is {kind}, not a list of {wanted}"


def fingerprint(table: pa.Table) -> str:
    """Return the SHA-256 of the content of a table of SCHEMA, however it is stored and chunked."""
    lists = {field: pc.struct_field(table["answers"], field) for field in ("text", "answer_start")}
    leaves = [table[column] for column in TEXT_COLUMNS]
    leaves += [values for column in lists.values() for values in (column, pc.list_flatten(column))]
    digest = hashlib.sha256()
    for leaf in leaves:
        sizes, content = hashlib.sha256(), hashlib.sha256()
        for chunk in leaf.chunks:
            if pa.types.is_string(chunk.type):
                data, offsets = text_bytes(chunk)
                sizes.update(np.diff(offsets).data)
                content.update(data.data)
            elif pa.types.is_list(chunk.type):
                sizes.update(pc.list_value_length(chunk).to_numpy())
            else:
                content.update(chunk.to_numpy())
        digest.update(sizes.digest() + content.digest())
    return digest.hexdigest()


def text_bytes(strings: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """View an array of texts without nulls as its UTF-8 bytes.

    Returns:
        The bytes of all texts end to end, (bytes,) uint8, and the offsets of the texts in them,
        (texts + 1,) int64.
    """
    _, offsets_buffer, data_buffer = strings.buffers()
    if len(strings) == 0 or data_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(len(strings) + 1, np.int64)
    offsets = np.frombuffer(offsets_buffer, np.int32, len(strings) + 1, strings.offset * 4)
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    return data, offsets.astype(np.int64) - offsets[0]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_(kind) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)
