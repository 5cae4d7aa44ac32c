"""Arrow values of whatever encoding and width: to texts, offsets, booleans."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.schema import SHARED

AS_UTF8 = (
    "Save the file as UTF-8; what Windows wrote for Western Europe, with `iconv -f WINDOWS-1252 -t "
    "UTF-8 OLD > NEW`."
)
_WORDS = (
    ["true", "1", "1.0", "yes", "t", "y", "x", "wahr", "ja", "vrai", "oui"],
    ["false", "0", "0.0", "no", "f", "n", "falsch", "nein", "faux", "non"],
    ["", "-", "nan", "none", "null", "n/a", "na", "<na>"],
)

NO_OFFSET = 2**62
"""In place of an offset that is given and is no whole number, such as 6-8 or 1.5."""
# Decimal places of nothing; three zeros after a point may be thousands.
_WHOLE = r"^[+-]?\d{1,15}([.,](0{0,2}|0{4,}))?$"


class WrongType(Exception):
    """A column has a type that cannot be what it is wanted for."""


@lru_cache(1024)
def plain(name: str) -> str:
    """Return the name of a column as `KNOWN_NAMES` spells it.

    `Answer Start`, `answer-start` and `answerStart` are answer_start.
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return words.lower().replace(" ", "_").replace("-", "_")


def to_texts(column: pa.Array, what: str) -> pa.StringArray:
    """Return texts, or numbers as texts; bytes stay as they are, to be judged row by row."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_floating(kind):  # an integer column with gaps, as pandas writes it
        numbers = column.to_numpy(zero_copy_only=False)
        whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**63)
        if np.all(np.isnan(numbers) | whole):
            column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64(), safe=False)
    if not (is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_null(kind)):
        if what in ("id", "title"):  # such as UUIDs, and the objects that MongoDB writes
            return pa.array([_name(value) for value in column.to_pylist()], pa.string())
        raise WrongType(f"{what} is {kind}, not text")
    return column.cast(pa.string(), safe=False)


def _name(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None else json.dumps(value, ensure_ascii=False, default=str).strip('"')


def to_offsets(column: pa.Array) -> pa.Int64Array:
    """Return offsets: integers of any width, floats and texts of them.

    Null, NaN and words for them are null, and so are integers beyond any text; what else is no
    whole number is NO_OFFSET.
    """
    kind = column.type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64(), safe=False)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.int64())
    if is_text(kind):
        column = pc.ascii_trim_whitespace(to_texts(column, "answer_start"))  # may be any bytes
        none = pc.or_(
            pc.is_in(pc.ascii_lower(column), value_set=pa.array(_WORDS[2])),
            pc.match_substring_regex(column, r"^[+-]?\d{16,}$"),
        )
        fits = pc.match_substring_regex(column, _WHOLE)
        whole = pc.replace_substring_regex(pc.if_else(fits, column, "0"), r"^\+|[.,].*", "")
        offsets = pc.if_else(fits, whole.cast(pa.int64()), NO_OFFSET)
        return pc.if_else(none, None, offsets)
    if not (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise WrongType(f"answer_start is {kind}, not integers")
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)  # null is NaN
    none = ~(np.abs(numbers) < 2**53)
    whole = ~none & (numbers == np.floor(numbers))
    return pa.array(
        np.where(whole, np.where(none, 0, numbers), NO_OFFSET).astype(np.int64), mask=none
    )


def to_booleans(column: pa.Array, what: str) -> pa.BooleanArray:
    """Return what words and numbers say: true, yes, 1, or false, no, 0; null where they are none.

    Raises:
        WrongType: A value says something else; to take it for null would change what is trained.
    """
    if pa.types.is_boolean(column.type):
        return column
    words = pc.ascii_lower(pc.ascii_trim_whitespace(to_texts(column, what)))  # may be any bytes
    yes, no, none = (pc.is_in(words, value_set=pa.array(values)) for values in _WORDS)
    other = words.filter(pc.invert(pc.or_(pc.or_(yes, no), pc.or_(none, words.is_null()))))
    if len(other):
        shown = other[:1].cast(pa.binary())[0].as_py().decode("utf-8", "backslashreplace")[:40]
        raise WrongType(
            f"{what} holds {shown!r}, which is neither true nor false (nor yes, no, 1, 0)"
        )
    return pc.if_else(yes, True, pc.if_else(no, False, pa.scalar(None, pa.bool_())))


def to_shared(column: pa.Array, what: str) -> pa.DictionaryArray:
    """Return texts as `to_texts` does, each distinct one held once, and none that no row has."""
    if not pa.types.is_dictionary(column.type) or column.dictionary.null_count:
        return to_texts(column, what).dictionary_encode().cast(SHARED)
    indices = column.indices
    known = indices.fill_null(0) if len(column.dictionary) else indices
    used, places = np.unique(known.to_numpy(zero_copy_only=False), return_inverse=True)
    values = to_texts(column.dictionary.take(pa.array(used)), what)
    mask = indices.is_null().to_numpy(zero_copy_only=False) if indices.null_count else None
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32), mask=mask), values)


def lengths(lists: pa.Array) -> np.ndarray:
    """Return the number of values of each list, 0 where it is null; (rows,)."""
    return pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)


def to_json(column: pa.ChunkedArray) -> list[Any]:
    """Return values that JSON can hold: NaN as null, times as text, bytes as text with escapes."""
    for convert in (_same, _with_bytes, _as_shown):
        with suppress(UnicodeDecodeError, OverflowError, ValueError, pa.ArrowException):
            return [_to_json(value) for value in convert(column).to_pylist()]
    return [None if each is None else str(each) for each in column]


def _same(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column


def _with_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return bytes in place of texts, which may not be UTF-8, at any depth."""
    return column.cast(_bytes_for_text(column.type))


def _bytes_for_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_bytes_for_text(field.type)) for field in kind])
    if is_list(kind):
        return pa.list_(_bytes_for_text(kind.value_type))
    return pa.binary() if is_text(kind) else kind


def _as_shown(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times beyond Python's as the texts that Arrow shows."""
    return column.cast(pa.string())


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):  # a map is a list of pairs
        return [_to_json(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, str | int | float) else str(value)


def as_text(value: Any) -> str | None:
    """Return a value as text, or None where it is null or NaN, which pandas writes for null.

    Raises:
        TypeError: It is nested.
    """
    if isinstance(value, dict | list):
        raise TypeError("a value is nested")
    if value is None or isinstance(value, str):
        return value
    return None if value != value else str(value)


def encoded(value: Any) -> Any:
    """Encode all texts of a JSON value; lone surrogates become the bytes that the file had."""
    if isinstance(value, dict):
        return {key: encoded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [encoded(part) for part in value]
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")  # an escape such as \\ud800


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds texts, or bytes that may be one."""
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


def is_list(kind: pa.DataType) -> bool:
    """Whether a type holds lists."""
    return any(
        is_(kind)
        for is_ in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )
