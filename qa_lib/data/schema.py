"""The one schema that all questions have, whatever they were read from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.errors import DataError

ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("context", pa.string()),
        ("question", pa.string()),
        ("answers", ANSWERS),
    ]
)
"""`answer_start` counts Unicode characters of the context; an unanswerable question has no answers.
"""
TEXT_COLUMNS = ("id", "title", "context", "question")
EXPECTED = (
    "The columns are id, title, context, question (text) and answers, a struct of the lists text "
    "and answer_start (integers). Official SQuAD JSON is read as it is."
)


Split = Literal["train", "eval", "holdout"]


@dataclass(frozen=True)
class Questions:
    """The questions of a split, all of them sound.

    Attributes:
        table: Rows of SCHEMA in the order of the source, limits applied.
        split: Which split they are.
        source: The name that they were loaded by.
        num_quarantined: Rows of the source that were left out because something is wrong with them.
    """

    table: pa.Table
    split: Split
    source: str
    num_quarantined: int = 0

    def __len__(self) -> int:
        """Return the number of questions."""
        return self.table.num_rows

    def __str__(self) -> str:
        """Say how many there are."""
        return (
            f"{self.split}: {len(self):,} questions of {len(self.titles):,} articles "
            f"({self.num_quarantined:,} rows quarantined)"
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content, whatever file format it came in."""
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

    Offsets become int64 here and int32 once checked, so that one beyond int32 is that row's fault
    and not the file's. Columns that SCHEMA does not have are dropped.

    Args:
        table: As read: strings may be large, viewed or dictionary-encoded, integers of any width.
        name: What was read, for the message.

    Raises:
        DataError: Columns are missing or hold another type; all of them are named.
    """
    problems: list[str] = []
    columns = {}
    for column in TEXT_COLUMNS:
        if column not in table.column_names:
            problems.append(f"{column} is missing")
        elif not _is_text(table.schema.field(column).type):
            problems.append(f"{column} is {table.schema.field(column).type}, not text")
        else:
            columns[column] = table[column]
    lists = {}
    if "answers" not in table.column_names:
        problems.append("answers is missing")
    elif not pa.types.is_struct(kind := table.schema.field("answers").type):
        problems.append(f"answers is {kind}, not a struct of lists")
    else:
        for field, is_wanted, wanted in (
            ("text", _is_text, "text"),
            ("answer_start", pa.types.is_integer, "integers"),
        ):
            if kind.get_field_index(field) < 0:
                problems.append(f"answers.{field} is missing")
            elif not _is_list(found := kind.field(field).type) or not is_wanted(found.value_type):
                problems.append(f"answers.{field} is {found}, not a list of {wanted}")
            else:
                lists[field] = pc.struct_field(table["answers"], field)
    if problems:
        raise DataError(f"{name} is not a table of questions: {'; '.join(problems)}.", EXPECTED)
    texts = lists["text"].cast(pa.list_(pa.string()))
    starts = lists["answer_start"].cast(pa.list_(pa.int64()), safe=False)
    chunks = [
        pa.StructArray.from_arrays(pair, ["text", "answer_start"])
        for pair in zip(texts.chunks, starts.chunks, strict=True)
    ]
    answers = pa.chunked_array(
        chunks, pa.struct([("text", texts.type), ("answer_start", starts.type)])
    )
    texts_of = {column: values.cast(pa.string()) for column, values in columns.items()}
    return pa.table({**texts_of, "answers": answers})


def fingerprint(table: pa.Table) -> str:
    """Return the SHA-256 of the content of a table of SCHEMA.

    Equal content gives an equal fingerprint, whatever the file format, the chunks and the slices
    that it came in.
    """
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
        The bytes of all texts end to end (uint8), and where each begins there: (texts + 1,) int64.
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
