"""Bring a table of questions, however its columns are named and typed, to one set of columns."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.schema import TEXT_COLUMNS, UNCHECKED
from qa_lib.errors import DataError

CONTEXT_NAMES = ("context", "passage", "paragraph", "document_text")
_NAMES = {
    "id": ("id", "qid", "question_id", "qas_id", "query_id", "example_id", "uid"),
    "title": ("title", "document_title"),
    "context": CONTEXT_NAMES,
    "question": ("question", "query", "question_text"),
    "answers": ("answers", "answer", "answer_text", "answer_texts", "gold", "answers.text"),
    "answer_start": ("answer_start", "answer_starts", "start", "answers.answer_start"),
    "is_impossible": ("is_impossible", "impossible"),
}
KNOWN_NAMES = frozenset(name for names in _NAMES.values() for name in names) | {"detected_answers"}
TEXT_NAMES = frozenset(name for what in TEXT_COLUMNS for name in _NAMES[what])
_TEXT_FIELDS = ("text", "texts", "answer_text", "answer", "span")
_START_FIELDS = ("answer_start", "start", "answer_starts", "offset", "start_char")
EXPECTED = (
    "The columns are question, context, and answers: text and answer_start, or only the text; id, "
    "title and is_impossible may be there. Name others with --data.columns, such as "
    "question=q,context=passage,answer=a. SQuAD's nested JSON is read as it is."
)


class _WrongType(Exception):
    """A column has a type that cannot be what it is wanted for."""


@lru_cache(1024)
def plain(name: str) -> str:
    """Return the name of a column as `KNOWN_NAMES` spells it: `Answer Start` is answer_start."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def normalise(table: pa.Table, name: str, mapping: Mapping[str, str] | None = None) -> pa.Table:
    """Bring a table to the columns and types of UNCHECKED, whatever its encodings and widths.

    Offsets become int64, and int32 only once checked: one beyond int32 spoils its row, not the
    file. Integer ids become text; an absent id or title is null; answers may be a struct of lists,
    a list of structs, a list of texts, one text, or flat columns. Other columns are dropped.

    Args:
        table: As read.
        name: What was read, for messages.
        mapping: Names of columns by what they are, before the usual names.

    Raises:
        DataError: Columns are missing or have other types; all of them are named.
    """
    source = _located(table, name, mapping or {})
    problems = [f"{what} is missing" for what in ("context", "question") if what not in source]
    if "answers" in source and pa.types.is_struct(kind := source["answers"].type):
        if not any(kind.get_field_index(field) >= 0 for field in _TEXT_FIELDS):
            problems.append("answers.text is missing")
    for what in TEXT_COLUMNS:
        if what in source and what in ("context", "question") and not _is_text(source[what].type):
            problems.append(f"{what} is {source[what].type}, not text")
    columns = pa.table(source) if source else pa.table({"id": pa.nulls(0)})
    if not problems:
        try:
            return pa.Table.from_batches([_batch(b) for b in columns.to_batches()], UNCHECKED)
        except _WrongType as error:
            problems.append(str(error))
    holds = f"; it has {', '.join(table.column_names) or 'no columns'}"
    raise DataError(f"{name} is not a table of questions: {'; '.join(problems)}{holds}.", EXPECTED)


def _located(table: pa.Table, name: str, mapping: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """Return the columns of the table by what they are."""
    by_name = {plain(own): own for own in reversed(table.column_names)}
    source = {}
    for what, names in _NAMES.items():
        if what in mapping:
            source[what] = _mapped(table, name, what, mapping[what])
            continue
        for own in names:
            if own in by_name and not pa.types.is_null(table[by_name[own]].type):
                source[what] = table[by_name[own]]
                break
    return source


def _mapped(table: pa.Table, name: str, what: str, path: str) -> pa.ChunkedArray:
    """Return the column that the user named, such as q or labels.text."""
    if path in table.column_names:
        return table[path]
    first, *fields = path.split(".")
    try:
        column = table[first]
        for field in fields:
            column = pc.struct_field(column, field)
        return column
    except (KeyError, pa.ArrowException):
        raise DataError(
            f"{name} has no column {path}, which --data.columns names for {what}; it has "
            f"{', '.join(table.column_names)}.",
            "Correct --data.columns.",
        ) from None


def _batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert the columns that `_located` named."""
    length = len(batch)
    names = batch.schema.names

    def nulls(kind: pa.DataType) -> pa.Array:
        return pa.nulls(length, kind)

    columns: dict[str, pa.Array] = {
        what: _texts(batch[what], what) if what in names else nulls(pa.string())
        for what in TEXT_COLUMNS
    }
    texts, starts = nulls(pa.list_(pa.string())), None
    if "answers" in names:
        texts, starts = _answers(batch["answers"])
    if starts is None and "answer_start" in names:
        starts = _start_lists(batch["answer_start"])
    if starts is None:  # no offsets: null for every text
        starts = _relist(texts, pa.nulls(len(texts.flatten()), pa.int64()))
    columns["answers"] = pa.StructArray.from_arrays([texts, starts], ["text", "answer_start"])
    columns["is_impossible"] = (
        _booleans(batch["is_impossible"]) if "is_impossible" in names else nulls(pa.bool_())
    )
    return pa.RecordBatch.from_pydict(columns, UNCHECKED)


def _answers(column: pa.Array) -> tuple[pa.ListArray, pa.ListArray | None]:
    """Return texts and offsets of the golds of each row; None where the column has no offsets."""
    column = _parsed(column)
    kind = column.type
    if pa.types.is_struct(kind):
        texts, starts = _field(column, _TEXT_FIELDS), _field(column, _START_FIELDS)
        return _text_lists(texts), None if starts is None else _start_lists(starts)
    if _is_list(kind) and pa.types.is_struct(kind.value_type):
        golds = column.flatten()
        texts, starts = _field(golds, _TEXT_FIELDS), _field(golds, _START_FIELDS)
        if texts is None:
            raise _WrongType("answers have no text")
        return _relist(column, _texts(texts, "answers.text")), (
            None if starts is None else _relist(column, _starts(starts))
        )
    return _text_lists(column), None


def _field(structs: pa.StructArray, names: tuple[str, ...]) -> pa.Array | None:
    for name in names:
        if structs.type.get_field_index(name) >= 0:
            return pc.struct_field(structs, name)
    return None


def _text_lists(column: pa.Array) -> pa.ListArray:
    if _is_list(column.type):
        return _relist(column, _texts(column.flatten(), "answers.text"))
    return _one_each(_texts(column, "answers"))


def _start_lists(column: pa.Array) -> pa.ListArray:
    if _is_list(column.type):
        return _relist(column, _starts(column.flatten()))
    return pa.ListArray.from_arrays(np.arange(len(column) + 1, dtype=np.int32), _starts(column))


def _one_each(values: pa.Array) -> pa.ListArray:
    """Return a list of one value per row, null where the value is."""
    known = values.is_valid()
    offsets = np.concatenate([[0], np.cumsum(known.to_numpy(zero_copy_only=False))])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), values.drop_null(), mask=pc.invert(known)
    )


def _relist(lists: pa.Array, values: pa.Array) -> pa.ListArray:
    """Return lists like these, null rows included, of other values."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=lists.is_null())


def _texts(column: pa.Array, what: str) -> pa.StringArray:
    """Return texts, or numbers as texts; bytes stay as they are, to be judged row by row."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_floating(kind):  # an integer column with gaps, as pandas writes it
        numbers = column.to_numpy(zero_copy_only=False)
        if np.all(np.isnan(numbers) | (numbers == np.floor(numbers))):
            column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64(), safe=False)
    if not (_is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_null(kind)):
        raise _WrongType(f"{what} is {kind}, not text")
    return column.cast(pa.string(), safe=False)


def _starts(column: pa.Array) -> pa.Int64Array:
    """Return offsets: integers of any width, floats and texts of them; else null."""
    kind = column.type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64(), safe=False)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.int64())
    if _is_text(kind):
        column = _texts(column, "answer_start")
        fits = pc.match_substring_regex(column, r"^\s*[+-]?\d{1,15}(\.0*)?\s*$")
        column = pc.utf8_trim_whitespace(pc.if_else(fits, column, None)).cast(pa.float64())
    elif not pa.types.is_floating(kind):
        raise _WrongType(f"answer_start is {kind}, not integers")
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    return pa.array(np.where(whole, numbers, 0).astype(np.int64), mask=~whole)


def _booleans(column: pa.Array) -> pa.BooleanArray:
    if pa.types.is_boolean(column.type):
        return column
    words = pc.utf8_lower(pc.utf8_trim_whitespace(_texts(column, "is_impossible")))
    yes, no = (
        pc.is_in(words, value_set=pa.array(values))
        for values in (["true", "1", "1.0", "yes"], ["false", "0", "0.0", "no"])
    )
    return pc.if_else(yes, True, pc.if_else(no, False, pa.scalar(None, pa.bool_())))


_ARRAY = re.compile(r"\barray\(|, dtype=\w+\)|(?<=[\]\"'])\)")


def _parsed(column: pa.Array) -> pa.Array:
    """Return the golds of a column of texts that hold JSON or Python, as tables of text do.

    pandas writes SQuAD's answers as `{'text': array(['10'], dtype=object), ...}`.
    """
    if not _is_text(column.type):
        return column
    column = _texts(column, "answers")
    known = column.drop_null()
    if (
        not len(known)
        or not pc.all(pc.match_substring_regex(known, r"^\s*[\[{].*[\]}]\s*$")).as_py()
    ):
        return column
    try:
        values = [None if text is None else _value(text) for text in column.to_pylist()]
        parsed = pa.array(values)
    except (ValueError, SyntaxError, RecursionError, MemoryError, pa.ArrowException):
        return column
    return parsed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(_ARRAY.sub("", text))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_(kind)
        for is_ in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _is_list(kind: pa.DataType) -> bool:
    return any(
        is_(kind) for is_ in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
