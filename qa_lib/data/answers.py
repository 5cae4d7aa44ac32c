"""Answers of rows, in whatever form: to a list of texts and a list of offsets for each row."""

from __future__ import annotations

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
    lengths,
    plain,
    to_offsets,
    to_texts,
)
from qa_lib.data.pairs import Contexts, Pair, Unclear, flattened, lone_pairs, split
from qa_lib.data.spans import begins, relist, that_stand

_DASH = "-"
_NO_ANSWER = (_DASH, *r"NULL Null null NaN nan None NA N/A <NA> #N/A \N".split())


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
    read = Contexts(contexts)
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


def _without_words_for_null(texts: pa.ListArray, contexts: Contexts) -> pa.ListArray:
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


def _merged(first: Pair, second: Pair, first_name: str, second_name: str) -> Pair:
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


def _pair(column: pa.Array, contexts: Contexts | None) -> tuple[pa.ListArray, pa.ListArray | None]:
    """Return texts and offsets of the golds of each row; None where the column has no offsets.

    Args:
        column: In one of the forms that `convert` knows.
        contexts: Tell pairs from golds; None where offsets inside the column do not count.
    """
    texts, starts = _texts_and_starts(flattened(column), contexts)
    return (texts, starts) if contexts is None else lone_pairs(texts, starts, contexts)


def _texts_and_starts(
    column: pa.Array, contexts: Contexts | None
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
        return split(column, contexts)
    return _text_lists(column), None


def _sure(texts: pa.ListArray, starts: pa.Array, contexts: Contexts | None) -> pa.ListArray | None:
    return None if contexts is None else that_stand(texts, starts, contexts.have_at)


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


def _beside(texts: pa.ListArray, own: pa.ListArray, starts: pa.Array) -> Pair:
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
