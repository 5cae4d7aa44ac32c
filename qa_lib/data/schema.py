"""The schema of all questions, whatever they were read from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TEXT_COLUMNS = ("id", "title", "context", "question")


SHARED = pa.dictionary(pa.int32(), pa.string())
"""Texts that many rows have in common, each held once: a context asks 4.6 questions in SQuAD."""


def _schema(text: pa.DataType, shared: pa.DataType, offset: pa.DataType) -> pa.Schema:
    kinds = {"id": text, "title": shared, "context": shared, "question": text}
    answers = pa.struct([("text", pa.list_(text)), ("answer_start", pa.list_(offset))])
    return pa.schema([*kinds.items(), ("answers", answers)])


SCHEMA = _schema(pa.string(), pa.string(), pa.int32())
"""`answer_start` counts Unicode characters of the context; an unanswerable question has no answers.

A gold of an evaluation question that does not stand in the context has the offset -1, and comes
after those that do. So does the text that the file has, where the context writes it another way.
"""
NOWHERE = -(2**62)
"""In UNCHECKED, in place of an offset: the gold was looked for before, and is not to be again."""
_IMPOSSIBLE = pa.field("is_impossible", pa.bool_())
UNCHECKED = _schema(pa.string(), SHARED, pa.int64()).append(_IMPOSSIBLE)
"""As `columns.normalise` returns it: null answers are unknown, a null offset is to be found."""
RAW = _schema(pa.binary(), pa.binary(), pa.int64()).append(_IMPOSSIBLE)
"""For texts that may not be UTF-8."""

Split = Literal["train", "eval", "holdout"]


@dataclass(frozen=True)
class Questions:
    """The validated questions of a split.

    Attributes:
        table: Rows of SCHEMA in the order of the source, limits applied.
        split: Which split they are.
        source: The name that they were loaded by.
        num_quarantined: Rows of the source that were left out as faulty.
        notes: What was changed in reading and how often, such as {"golds trimmed": 3}.
    """

    table: pa.Table
    split: Split
    source: str
    num_quarantined: int = 0
    notes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of questions."""
        return self.table.num_rows

    def __str__(self) -> str:
        """Return the counts, for people."""
        notes = "".join(f", {count:,} {what}" for what, count in self.notes.items())
        return (
            f"{self.split}: {len(self):,} questions of {len(self.titles):,} articles "
            f"({self.num_quarantined:,} rows quarantined{notes})"
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
