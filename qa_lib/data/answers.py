"""Answers of rows, in whatever form: to a list of texts and a list of offsets for each row."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.conversion import (
    WrongType,
    as_text,
    encoded,
    is_list,
    is_text,
    lengths,
    plain,
    to_offsets,
    to_texts,
)

START_NAMES = (
    *("answer_start", "answer_starts", "start", "starts", "start_char", "char_start"),
    *("start_offset", "answer_offset", "answer_begin"),
)
TEXT_FIELDS = ("text", "texts", "answer_text", "answer", "span")
_START_FIELDS = (*START_NAMES, "offset")
_NONE = ("nan", "NaN", "None", "null")  # beside cells of JSON or Python; texts elsewhere
# A value and the white space before the next: numpy writes no commas, as in ['10' 'one'].
_VALUE = re.compile(
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\w.]+|[]})])(\s+(?=['"\w{[(-]))?""", re.DOTALL
)


def convert(answers: pa.Array | None, starts: pa.Array | None, num_rows: int) -> pa.StructArray:
    """Return the answers of rows as a struct of the lists text and answer_start.

    Args:
        answers: Struct of lists, list of structs, list of texts, or texts, also such as JSON
            writes them; None where the table has none.
        starts: A column of offsets beside it, or None.
        num_rows: Rows of the table.

    Raises:
        WrongType: A column has a type that is none of these.
    """
    texts, own = (
        (pa.nulls(num_rows, pa.list_(pa.string())), None) if answers is None else _pair(answers)
    )
    if own is None and starts is not None:
        texts, own = _beside(texts, _parsed(starts))
    if own is None:  # no offsets: null for every text
        own = _relist(texts, pa.nulls(len(texts.flatten()), pa.int64()))
    return pa.StructArray.from_arrays([texts, own], ["text", "answer_start"])


def _pair(column: pa.Array) -> tuple[pa.ListArray, pa.ListArray | None]:
    """Return texts and offsets of the golds of each row; None where the column has no offsets."""
    column = _flattened(_parsed(column))
    kind = column.type
    if pa.types.is_struct(kind):
        texts, starts = _field(column, TEXT_FIELDS), _field(column, _START_FIELDS)
        if texts is None:
            raise WrongType("answers have no text")
        texts = _text_lists(texts)
        return (texts, None) if starts is None else _beside(texts, starts)
    if is_list(kind) and pa.types.is_struct(kind.value_type):
        golds = column.flatten()
        texts, starts = _field(golds, TEXT_FIELDS), _field(golds, _START_FIELDS)
        if texts is None:
            raise WrongType("answers have no text")
        return _relist(column, _texts(texts)), (
            None if starts is None else _relist(column, to_offsets(starts))
        )
    return _text_lists(column), None


def _flattened(column: pa.Array) -> pa.Array:
    """Return lists of lists, such as one for each annotator, as lists."""
    while is_list(column.type) and is_list(column.type.value_type):
        inner = column.flatten()
        ends = np.concatenate([[0], np.cumsum(lengths(inner))])
        offsets = ends[np.concatenate([[0], np.cumsum(lengths(column))])]
        column = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), inner.flatten(), mask=column.is_null()
        )
    return column


def _field(structs: pa.StructArray, names: tuple[str, ...]) -> pa.Array | None:
    own = {plain(field.name): field.name for field in structs.type}
    for name in names:
        if name in own:
            return pc.struct_field(structs, own[name])
    return None


def _text_lists(column: pa.Array) -> pa.ListArray:
    if is_list(column.type):
        return _relist(column, _texts(column.flatten()))
    return _one_each(_texts(column))


def _texts(column: pa.Array) -> pa.StringArray:
    if pa.types.is_boolean(column.type):
        raise WrongType("answers are true or false, which needs another kind of model")
    return to_texts(column, "answers")


def _beside(texts: pa.ListArray, starts: pa.Array) -> tuple[pa.ListArray, pa.ListArray]:
    """Return texts, and the offsets that stand beside them, one or a list for each row.

    One offset without any text, such as tools write for unanswerable questions, is that of a gold
    whose text is missing; a row that has neither says nothing of its answers.
    """
    if is_list(starts.type):
        return texts, _relist(starts, to_offsets(starts.flatten()))
    own = _one_each(to_offsets(starts))
    alone = pc.and_(pa.array(lengths(texts) == 0), own.is_valid())
    return pc.if_else(alone, pa.scalar([None], texts.type), texts), own


def _one_each(values: pa.Array) -> pa.ListArray:
    """Return a list of one value per row, null where the value is."""
    known = values.is_valid()
    offsets = np.concatenate([[0], np.cumsum(known.to_numpy(zero_copy_only=False))])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), values.drop_null(), mask=pc.invert(known)
    )


def _relist(lists: pa.Array, values: pa.Array) -> pa.ListArray:
    """Return lists like these, null rows included, of other values."""
    offsets = np.concatenate([[0], np.cumsum(lengths(lists))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=lists.is_null())


def _parsed(column: pa.Array) -> pa.Array:
    """Return the golds of a column of texts that hold JSON or Python, as tables of text do.

    pandas writes SQuAD's answers as `{'text': array(['10'], dtype=object), ...}`, lists of texts
    as `['10' 'one']`, and lists of numbers of numpy as `[np.int64(11)]`. A cell that does
    not parse, where most do, stays the text that it is: it spoils its own row.
    """
    if not is_text(column.type):
        return column
    column = to_texts(column, "answers")
    looks = pc.match_substring_regex(column, r"^\s*[\[{](?s:.*)[\]}]\s*$")
    none = pc.or_(column.is_null(), pc.is_in(column, value_set=pa.array(_NONE)))
    if 2 * (pc.sum(looks).as_py() or 0) <= len(column) - (pc.sum(none).as_py() or 0):
        return column
    values = [None if text is None else _value(text) for text in column.to_pylist()]
    for convert_all in (pa.array, golds_of):
        with suppress(pa.ArrowException, TypeError, OverflowError):
            return convert_all(values)
    return column


def _value(text: str) -> Any:
    """Return what a cell of JSON or Python holds, numbers as they are spelled: 1.50 is no 1.5."""
    try:
        value = json.loads(text, parse_int=str, parse_float=str)
        return value if isinstance(value, dict | list) else None if text in _NONE else text
    except (ValueError, RecursionError):
        pass
    try:
        python = _VALUE.sub(lambda found: found[1] + ("," if found[2] else ""), text.strip())
        value = ast.literal_eval(_Plain(python).visit(ast.parse(python, mode="eval")))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    return value if value is None or isinstance(value, dict | list) else text


class _Plain(ast.NodeTransformer):
    """Put what is called in place of the call, as in array(['10']), and None in place of nan.

    Numbers become the texts that they are written as.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return self._spelled(node) if type(node.value) in (int, float) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return self._spelled(node) if isinstance(node.operand, ast.Constant) else node

    def _spelled(self, node: ast.AST) -> ast.AST:
        return ast.Constant(ast.get_source_segment(self._source, node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.visit(node.args[0]) if node.args else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(None) if node.id == "nan" else node


def golds_of(values: list[Any]) -> pa.Array:
    """Return the answers of rows, whose forms differ, as structs of lists of texts.

    Raises:
        TypeError: A value is nested.
    """
    return pa.array([encoded(_golds(value)) for value in values])


def _golds(value: Any) -> dict[str, list[str | None] | None] | None:
    """Return the golds of a row, in whatever form: their texts, and their offsets if it has any."""
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, dict):
        texts, starts = (_first(value, names) for names in (TEXT_FIELDS, _START_FIELDS))
        texts, starts = (part if isinstance(part, list) else [part] for part in (texts, starts))
        starts = None if starts == [None] else starts
    else:
        golds = value if isinstance(value, list) else [value]
        golds = [gold if isinstance(gold, dict) else {"text": gold} for gold in golds]
        texts, starts = (
            [_first(gold, names) for gold in golds] for names in (TEXT_FIELDS, _START_FIELDS)
        )
    return {
        "text": list(map(as_text, texts)),
        "answer_start": None if starts is None else list(map(as_text, starts)),
    }


def _first(value: dict[str, Any], names: tuple[str, ...]) -> Any:
    own = {plain(key): key for key in value}
    return next((value[own[name]] for name in names if name in own), None)
