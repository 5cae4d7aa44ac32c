"""Answers of rows, in whatever form: to a list of texts and a list of offsets for each row."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.answer_values import (
    OF_MANY_THINGS,
    SPAN_FIELDS,
    of_cells,
    offsets_of_cells,
    start_field,
    text_field,
)
from qa_lib.data.conversion import (
    WrongType,
    is_list,
    is_text,
    lengths,
    plain,
    to_offsets,
    to_texts,
)
from qa_lib.data.spans import begins, relist, that_stand

_Pair = tuple[pa.ListArray, pa.ListArray]  # texts and offsets of the golds of each row
_DASH = "-"
_NO_ANSWER = (
    _DASH,
    "NULL",
    "Null",
    "null",
    "NaN",
    "nan",
    "None",
    "NA",
    "N/A",
    "<NA>",
    "#N/A",
    r"\N",
)


class Unclear(Exception):
    """A row of a batch can be read in two ways, of which only the user knows the right one."""

    def __init__(self, row: int, problem: str, remedy: str) -> None:
        """Name the row, what it has, and how to say what is meant."""
        super().__init__(row, problem, remedy)
        self.row, self.problem, self.remedy = row, problem, remedy


def differing(row: int, what: str, first: str, second: str) -> Unclear:
    """Return the error of a row that has different values in two columns of one meaning."""
    problem = f"has different values in {first} and {second}, each of which may be its {what}"
    remedy = f"Name the one that is meant with --data.columns, such as {what}={first}."
    return Unclear(row, problem, remedy)


def convert(
    columns: Mapping[str, pa.Array],
    starts: Mapping[str, pa.Array],
    contexts: pa.DictionaryArray,
    *,
    with_own_starts: bool = True,
) -> pa.StructArray:
    """Return the answers of rows as a struct of the lists text and answer_start.

    A row's golds are those of the first column that has any. A word for null is no gold, unless it
    stands in the context or the row has others.

    Args:
        columns: By their names: structs of lists, lists of structs, of texts or of pairs [offset,
            text], one gold and its offset as a list, or texts, also such as JSON writes them.
        starts: Columns of offsets beside them by their names, for rows whose golds have none.
        contexts: Of the rows.
        with_own_starts: Whether to read the offsets that stand inside the columns.

    Raises:
        WrongType: A column has a type that is none of these.
        Unclear: A row has different golds in two columns, or lists that may be pairs or golds.
    """
    read = _Contexts(contexts)
    texts, own = _unknown(len(contexts), pa.string()), _unknown(len(contexts), pa.int64())
    for number, (name, column) in enumerate(columns.items()):
        more, offsets = _pair(of_cells(column, read.have), read if with_own_starts else None)
        more = _without_words_for_null(more, read)
        if offsets is None or not with_own_starts:
            offsets = _unknown(len(more), pa.int64())
        if number:
            more, offsets = _merged((texts, own), (more, offsets), [*columns][0], name)
        texts, own = more, offsets
    for name, column in starts.items():
        found: pa.Array | None = begins(offsets_of_cells(column), name)
        if plain(name) == OF_MANY_THINGS:
            found = that_stand(texts, found, read.have_at)
        if found is not None:
            texts, own = _beside(texts, own, found)
    if own.null_count:  # no offsets: null for every text
        own = pc.coalesce(own, relist(texts, pa.nulls(len(texts.flatten()), pa.int64())))
    return pa.StructArray.from_arrays([texts, own], ["text", "answer_start"])


def _unknown(num_rows: int, kind: pa.DataType) -> pa.ListArray:
    return pa.nulls(num_rows, pa.list_(kind))


class _Contexts:
    """The contexts of rows, which tell what answers may be."""

    def __init__(self, contexts: pa.DictionaryArray) -> None:
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


def _without_words_for_null(texts: pa.ListArray, contexts: _Contexts) -> pa.ListArray:
    """Put null in place of words that tables write for it, where a row has no other gold.

    As texts they would be golds of an evaluation that no prediction equals.
    """
    golds = texts.flatten()
    is_word = _mask(pc.is_in(pc.ascii_trim_whitespace(golds), value_set=pa.array(_NO_ANSWER)))
    if not is_word.any():
        return texts
    row = np.repeat(np.arange(len(texts)), lengths(texts))
    others = np.bincount(row, _has_letters(golds) & ~is_word, len(texts)) > 0
    for gold in np.flatnonzero(is_word):
        word = golds[gold].as_py().strip()
        # Nearly every context has a dash, and none is an answer.
        is_one = word != _DASH and contexts.have(int(row[gold]), word)
        is_word[gold] = not (others[row[gold]] or is_one)
    return relist(texts, pc.if_else(pa.array(is_word), None, golds))


def _merged(first: _Pair, second: _Pair, first_name: str, second_name: str) -> _Pair:
    """Return the golds that rows have in either of two columns, the first before the second.

    Raises:
        Unclear: A row has golds in both, and neither has all of the other's.
    """
    has, has_more = (_rows_with_letters(texts) for texts, _ in (first, second))
    take = ~has & (has_more | _mask(first[0].is_null()))
    both = np.flatnonzero(has & has_more)
    sets = (
        [
            {text.strip() for text in golds if text}
            for golds in texts.take(pa.array(both)).to_pylist()
        ]
        for texts in (pair[0].cast(pa.list_(pa.binary())) for pair in (first, second))
    )
    without_starts = _mask(first[1].is_null())
    for row, own, more in zip(both, *sets, strict=True):
        if not (own <= more or more <= own):
            raise differing(int(row), "answers", first_name, second_name)
        take[row] = without_starts[row] and own <= more
    texts, starts = (
        pc.if_else(pa.array(take), more, own) for own, more in zip(first, second, strict=True)
    )
    return texts, starts


def _rows_with_letters(texts: pa.ListArray) -> np.ndarray:
    row = np.repeat(np.arange(len(texts)), lengths(texts))
    return np.bincount(row, _has_letters(texts.flatten()), len(texts)) > 0


def _has_letters(texts: pa.StringArray) -> np.ndarray:
    """Return which texts are neither null nor blank; they may be any bytes."""
    length = pc.binary_length(pc.ascii_trim_whitespace(texts)).fill_null(0)
    return _mask(pc.greater(length, 0))


def _mask(values: pa.BooleanArray) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False).copy()


def _pair(column: pa.Array, contexts: _Contexts | None) -> tuple[pa.ListArray, pa.ListArray | None]:
    """Return texts and offsets of the golds of each row; None where the column has no offsets.

    Args:
        column: In one of the forms that `convert` knows.
        contexts: Tell pairs from golds; None where offsets inside the column do not count.
    """
    texts, starts = _texts_and_starts(_flattened(column), contexts)
    return (texts, starts) if contexts is None else _lone_pairs(texts, starts, contexts)


def _texts_and_starts(
    column: pa.Array, contexts: _Contexts | None
) -> tuple[pa.ListArray, pa.ListArray | None]:
    kind = column.type
    if pa.types.is_struct(kind):
        values, name, starts = _fields(column)
        texts = _text_lists(values)
        if starts is None or name is None:
            return texts, None
        if plain(name) in SPAN_FIELDS:
            # Beside one text a list of numbers is its span, else each is that of one text.
            of_golds = not is_list(values.type)
            found = begins(starts, name, of_golds=of_golds)
            return texts, _sure(texts, _one_each(found) if of_golds else found, contexts)
        return _beside(texts, _unknown(len(texts), pa.int64()), begins(starts, name))
    if is_list(kind) and pa.types.is_struct(kind.value_type):
        values, name, starts = _fields(column.flatten())
        texts = relist(column, _texts(values))
        if starts is None or name is None:
            return texts, None
        found = begins(starts, name, of_golds=True)
        if plain(name) in SPAN_FIELDS:
            return texts, _sure(texts, relist(column, found), contexts)
        return texts, relist(column, to_offsets(found))
    if is_list(kind) and is_list(kind.value_type):
        return _split(column, contexts)
    return _text_lists(column), None


def _sure(texts: pa.ListArray, starts: pa.Array, contexts: _Contexts | None) -> pa.ListArray | None:
    return None if contexts is None else that_stand(texts, starts, contexts.have_at)


def _flattened(column: pa.Array) -> pa.Array:
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


def _split(column: pa.Array, contexts: _Contexts | None) -> _Pair:
    """Return the texts and offsets of pairs.

    Raises:
        Unclear: No text stands at its offset, so that they may be the golds of annotators.
    """
    values = column.flatten().flatten()
    firsts, seconds = (values.take(pa.array(np.arange(n, len(values), 2))) for n in (0, 1))
    texts, starts = _texts(seconds), to_offsets(firsts)
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


def _lone_pairs(
    texts: pa.ListArray, starts: pa.ListArray | None, contexts: _Contexts
) -> tuple[pa.ListArray, pa.ListArray | None]:
    """Take the texts of each row for one gold and its offset, or begin and end, if all are such.

    They are if the gold stands there in every row whose golds have no offsets.
    """
    sizes = lengths(texts)
    rows = np.flatnonzero((sizes > 0) & (True if starts is None else _mask(starts.is_null())))
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


def _are_numbers(texts: pa.StringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(texts, r"^\d{1,9}$")


def _fields(golds: pa.StructArray) -> tuple[pa.Array, str | None, pa.Array | None]:
    """Return the texts of golds, and name and values of their offsets, if they have any."""
    names = [field.name for field in golds.type]
    text, start = text_field(names), start_field(names)
    if text is None:
        raise WrongType("answers have no text")
    starts = None if start is None else pc.struct_field(golds, start)
    return pc.struct_field(golds, text), start, starts


def _text_lists(column: pa.Array) -> pa.ListArray:
    if is_list(column.type):
        return relist(column, _texts(column.flatten()))
    return _one_each(_texts(column))


def _texts(column: pa.Array) -> pa.StringArray:
    if pa.types.is_boolean(column.type):
        raise WrongType("answers are true or false, which needs another kind of model")
    return to_texts(column, "answers")


def _beside(texts: pa.ListArray, own: pa.ListArray, starts: pa.Array) -> _Pair:
    """Return texts, and their own offsets or those that stand beside them: one a row, or a list.

    One offset without any text, such as tools write for unanswerable questions, is that of a gold
    whose text is missing; a row that has neither says nothing of its answers.
    """
    if is_list(starts.type):
        return texts, pc.coalesce(own, relist(starts, to_offsets(starts.flatten())))
    given = _one_each(to_offsets(starts))
    alone = pc.and_(pa.array(lengths(texts) == 0), pc.and_(own.is_null(), given.is_valid()))
    return pc.if_else(alone, pa.scalar([None], texts.type), texts), pc.coalesce(own, given)


def _one_each(values: pa.Array) -> pa.ListArray:
    """Return a list of one value per row, null where the value is."""
    known = values.is_valid()
    offsets = np.concatenate([[0], np.cumsum(known.to_numpy(zero_copy_only=False))])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), values.drop_null(), mask=pc.invert(known)
    )
