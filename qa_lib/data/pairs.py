"""Golds and their offsets in one list: told from several golds by the contexts of their rows."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.conversion import is_list, is_text, lengths, to_offsets, to_texts
from qa_lib.data.spans import relist

Pair = tuple[pa.ListArray, pa.ListArray]
"""Texts and offsets of the golds of each row."""


class Unclear(Exception):
    """A row of a batch can be read in two ways, of which only the user knows the right one."""

    def __init__(self, row: int, problem: str, remedy: str) -> None:
        """Name the row, what it has, and how to say what is meant."""
        super().__init__(row, problem, remedy)
        self.row, self.problem, self.remedy = row, problem, remedy


class Contexts:
    """The contexts of rows, which tell what answers may be."""

    def __init__(self, contexts: pa.DictionaryArray) -> None:
        """Hold the context of each row."""
        self._indices = contexts.indices
        self._texts = contexts.dictionary.cast(pa.binary())

    def of(self, row: int) -> str:
        """Return the context of a row, empty where it has none."""
        index = self._indices[row].as_py()
        raw = b"" if index is None else self._texts[index].as_py()
        return str(raw, "utf-8", "surrogateescape")

    def have_at(self, row: int, start: int | None, text: bytes | None) -> bool:
        """Whether a text stands at its offset."""
        gold = str(text or b"", "utf-8", "surrogateescape").strip()
        return bool(gold and start is not None and self.of(row).startswith(gold, start))

    def have(self, row: int, text: str) -> bool:
        """Whether a text stands in the context of a row, as whole words."""
        text = text.strip()
        front, back = ("\\b" if end.isalnum() else "" for end in (text[:1], text[-1:]))
        return re.search(front + re.escape(text) + back, self.of(row), re.ASCII) is not None


def flattened(column: pa.Array) -> pa.Array:
    """Return lists of lists, such as one for each annotator, as lists; pairs stay such."""
    while is_list(column.type) and is_list(column.type.value_type) and not _are_pairs(column):
        inner = column.flatten()
        ends = np.concatenate([[0], np.cumsum(lengths(inner))])
        offsets = ends[np.concatenate([[0], np.cumsum(lengths(column))])]
        column = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), inner.flatten(), mask=column.is_null()
        )
    return column


def _are_pairs(column: pa.Array) -> bool:
    """Whether all inner lists are an offset and a text, as ParsiNLU has them."""
    inner = column.flatten()
    values = inner.flatten()
    if not (is_text(values.type) or pa.types.is_integer(values.type)):
        return False
    starts = to_texts(values, "answers")[::2]
    are_numbers = pc.match_substring_regex(starts, r"^\d+$").fill_null(False)
    return bool(len(inner) and (lengths(inner) == 2).all() and pc.all(are_numbers).as_py())


def split(column: pa.Array, contexts: Contexts | None) -> Pair:
    """Return the texts and offsets of pairs.

    Raises:
        Unclear: No text stands at its offset, so that they may be the golds of annotators.
    """
    values = column.flatten().flatten()
    firsts, seconds = (values.take(pa.array(np.arange(n, len(values), 2))) for n in (0, 1))
    texts, starts = to_texts(seconds, "answers"), to_offsets(firsts)
    row = np.repeat(np.arange(len(column)), lengths(column))
    golds = zip(row.tolist(), starts.to_pylist(), texts.cast(pa.binary()).to_pylist(), strict=True)
    if contexts is not None and not any(contexts.have_at(*gold) for gold in golds):
        shown = f"[{starts[0]}, {str(texts[0])[:40]!r}]"
        raise Unclear(
            int(row[0]),
            f"has {shown}, an offset and an answer that does not stand there, or two answers",
            "Of an offset and an answer, --data.columns answer_start= looks for the answer by its "
            "text; write two answers as one list of texts, not as a list in a list.",
        )
    return relist(column, texts), relist(column, starts)


def lone_pairs(
    texts: pa.ListArray, starts: pa.ListArray | None, contexts: Contexts
) -> tuple[pa.ListArray, pa.ListArray | None]:
    """Take the texts of each row for one gold and its offset, or begin and end, if all are such.

    They are if the gold stands there in every row whose golds have no offsets.
    """
    sizes = lengths(texts)
    rows = np.flatnonzero((sizes > 0) & (True if starts is None else _null(starts)))
    size = int(sizes[rows[0]]) if len(rows) else 0
    if size not in (2, 3) or (sizes[rows] != size).any():
        return texts, starts
    values, begins = texts.flatten(), (np.cumsum(sizes) - sizes)[rows]
    parts = [values.take(pa.array(begins + place)) for place in range(size)]
    for place in (size - 1, 0):  # where the gold is
        numbers = [part for number, part in enumerate(parts) if number != place]
        if not all(pc.all(_are_numbers(part), skip_nulls=False).as_py() for part in numbers):
            continue
        offsets = list(map(int, numbers[0].to_pylist()))
        golds = parts[place].cast(pa.binary()).to_pylist()
        are_texts = not pc.all(_are_numbers(parts[place]), skip_nulls=False).as_py() or not any(
            map(contexts.have, rows.tolist(), numbers[0].to_pylist())
        )
        if are_texts and all(map(contexts.have_at, rows.tolist(), offsets, golds)):
            keep = np.ones(len(values), bool)
            keep[begins[:, None] + [other for other in range(size) if other != place]] = False
            own: list[list[int] | None] = [None] * len(texts)
            for row, offset in zip(rows.tolist(), offsets, strict=True):
                own[row] = [offset]
            ends = np.concatenate([[0], np.cumsum(keep)])[np.concatenate([[0], np.cumsum(sizes)])]
            kept = values.filter(pa.array(keep))
            texts = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), kept, mask=texts.is_null())
            found = pa.array(own, pa.list_(pa.int64()))
            return texts, found if starts is None else pc.coalesce(found, starts)
    return texts, starts


def _null(starts: pa.ListArray) -> np.ndarray:
    return starts.is_null().to_numpy(zero_copy_only=False)


def _are_numbers(texts: pa.StringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(texts, r"^\d{1,9}$")
