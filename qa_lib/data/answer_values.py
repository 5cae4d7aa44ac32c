"""Answers as Python values: what cells of text hold, and rows whose forms differ."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.conversion import as_text, encoded, is_text, plain, to_texts

_STARTS_OF_ANSWERS = (
    *("answer_start", "answer_starts", "start_char", "char_start", "answer_offset"),
    *("answer_begin", "answer_begin_position", "answer_start_position", "answer_start_index"),
)
SPAN_NAMES = ("answer_span", "answer_spans", "char_span", "char_spans")
"""Of pairs of begin and end."""
SPAN_FIELDS = ("span", "spans")
"""The same, of fields beside a text, where the text stands there: they may be tokens, or texts."""
OF_MANY_THINGS = "labels"
"""A column of spans in MRQA's tables, and of other things in others."""
VAGUE_START_NAMES = (
    *("start", "starts", "start_offset", "start_position", "start_index", "start_idx"),
    *("begin_position", "offset"),
)
"""Of offsets that may be those of something else where there are better names."""
START_NAMES = (*_STARTS_OF_ANSWERS, *SPAN_NAMES, *VAGUE_START_NAMES)
TEXT_FIELDS = ("text", "texts", "answer_text", "answer", "span")
_BEGINNING = {"start", "starts", "begin", "begins", "offset", "offsets"}
_OF_OTHERS = {  # than characters of the context
    *("end", "ends", "token", "tokens", "word", "words", "byte", "bytes", "sentence", "line"),
    *("page", "paragraph", "passage", "document", "time"),
}
_NONE = ("nan", "NaN", "None", "null")  # beside cells of JSON or Python; texts elsewhere
# A value and the white space before the next: numpy writes no commas, as in ['10' 'one'].
_VALUE = re.compile(
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\w.]+|[]})])(\s+(?=['"\w{[(-]))?""", re.DOTALL
)


class WrongGold(TypeError):
    """The answer of a row has none of the known forms."""


def text_field(names: Iterable[str]) -> str | None:
    """Return which of the fields of a gold is its text."""
    own = {plain(name): name for name in names}
    return next((own[name] for name in TEXT_FIELDS if name in own), None)


def start_field(names: Iterable[str]) -> str | None:
    """Return which of the fields of a gold is its offset, of a usual name or one that says so."""
    own = {plain(name): name for name in names}
    for name in START_NAMES:
        if name in own:
            return own[name]
    for name in SPAN_FIELDS:
        if name in own and text_field(own) != name:
            return own[name]
    words = {name: set(name.split("_")) for name in own}
    say_so = [
        own[name] for name in own if words[name] & _BEGINNING and not words[name] & _OF_OTHERS
    ]
    return say_so[0] if len(say_so) == 1 else None


def of_cells(column: pa.Array, stands: Callable[[int, str], bool]) -> pa.Array:
    """Return the golds of a column of texts that hold JSON or Python, as tables of text do.

    pandas writes SQuAD's answers as `{'text': array(['10'], dtype=object), ...}`, lists of texts
    as `['10' 'one']`, and lists of numbers of numpy as `[np.int64(11)]`. A cell that does
    not parse stays the text that it is, and so does one beside plain answers, such as `[1]`, that
    its context has.

    Args:
        column: Of any type; only texts are parsed.
        stands: Whether a text stands in the context of a row.
    """
    if not is_text(column.type):
        return column
    column = to_texts(column, "answers")
    looks = _looks_like_value(column)
    num_looking = pc.sum(looks).as_py() or 0
    if not num_looking:
        return column
    none = pc.or_(column.is_null(), pc.is_in(column, value_set=pa.array(_NONE)))
    are_values = 2 * num_looking > len(column) - pc.sum(none).as_py()
    texts = zip(_decoded(column), looks.to_pylist(), strict=True)
    return _array(
        [
            _value(text) if are_values or (text and looks_so and not stands(row, text)) else text
            for row, (text, looks_so) in enumerate(texts)
        ],
        column,
    )


def offsets_of_cells(column: pa.Array) -> pa.Array:
    """Return the offsets of a column of texts, some of which may hold lists, as `of_cells` does."""
    if not is_text(column.type):
        return column
    column = to_texts(column, "answer_start")
    if not pc.any(_looks_like_value(column)).as_py():
        return column
    values = [_value(text) for text in _decoded(column)]
    return _array([[value] if isinstance(value, str) else value for value in values], column)


def _looks_like_value(column: pa.StringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(column, r"^\s*[\[{](?s:.*)[\]}]\s*$").fill_null(False)


def _decoded(column: pa.StringArray) -> list[str | None]:
    """Return texts; what is not UTF-8 becomes lone surrogates, for `encoded`."""
    raw = column.cast(pa.binary()).to_pylist()
    return [None if text is None else text.decode("utf-8", "surrogateescape") for text in raw]


def _array(values: list[Any], column: pa.StringArray) -> pa.Array:
    """Return values as Arrow; where no type holds them, the column that they were read from."""
    for convert_all in (lambda each: pa.array(encoded(each)), golds_of):
        with suppress(pa.ArrowException, TypeError, OverflowError):
            return convert_all(values)
    return column


def _value(text: str | None) -> Any:
    """Return what a cell of JSON or Python holds, numbers as they are spelled: 1.50 is no 1.5."""
    if text is None:
        return None
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
        WrongGold: A value is nested; its row is named.
    """
    golds = []
    for row, value in enumerate(values):
        try:
            golds.append(encoded(_golds(value)))
        except TypeError as error:
            raise WrongGold(f"row {row} (counted from 0), {str(value)[:60]}: {error}") from None
    return pa.array(golds)


def _golds(value: Any) -> dict[str, list[str | None] | None] | None:
    """Return the golds of a row, in whatever form: their texts, and their offsets if it has any."""
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, dict):
        text, start = _text_and_start(value)
        texts = text if isinstance(text, list) else [text]
        of_texts = isinstance(text, list) and isinstance(start, list)
        starts = list(map(_begin, start)) if of_texts else [_begin(start)]
    else:
        golds = value if isinstance(value, list) else [value]
        pairs = [_text_and_start(gold) for gold in golds]
        texts, starts = ([pair[place] for pair in pairs] for place in (0, 1))
        starts = list(map(_begin, starts))
    has_starts = not starts or any(start is not None for start in starts)
    return {
        "text": list(map(as_text, texts)),
        "answer_start": list(map(as_text, starts)) if has_starts else None,
    }


def _begin(start: Any) -> Any:
    """Return where a span begins, or the first of several."""
    while isinstance(start, dict | list):
        if isinstance(start, dict):
            name = start_field(start)
            start = None if name is None else start[name]
        else:
            start = start[0] if start else None
    return start


def _text_and_start(gold: Any) -> tuple[Any, Any]:
    if isinstance(gold, dict):
        names = text_field(gold), start_field(gold)
        text, start = (None if name is None else gold[name] for name in names)
        # Whether a `span` is one of characters, only the context says: its text is looked for.
        return text, None if names[1] and plain(names[1]) in SPAN_FIELDS else start
    is_pair = isinstance(gold, list) and [*map(type, gold)] == [int, str]
    return (gold[1], gold[0]) if is_pair else (gold, None)
