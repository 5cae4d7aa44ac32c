"""Which columns of a table are question, context and answers: by the user's names or usual ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.answer_values import OF_MANY_THINGS, VAGUE_START_NAMES, text_field
from qa_lib.data.column_names import KNOWN_NAMES, NAMES, OF_ANYTHING, VAGUE_NAMES
from qa_lib.data.conversion import WrongType, is_list, is_text, lengths, plain, to_texts
from qa_lib.errors import DataError

HELD = b"qa-suite-columns"
"""In a table's metadata: the names of all columns of its file, where the table has but some."""
Columns = dict[str, dict[str, pa.ChunkedArray]]
"""By what they are, then by their names."""


def metadata(table: pa.Table, key: bytes) -> dict[bytes, bytes]:
    """Return what a table's metadata has under a key, if anything."""
    return {own: value for own, value in (table.schema.metadata or {}).items() if own == key}


def held(table: pa.Table) -> str:
    """Return the names of the columns of the file, for messages."""
    held = metadata(table, HELD).get(HELD, b"").decode("utf-8", "replace")
    return held or ", ".join(table.column_names) or "no columns"


def located_in(table: pa.Table, name: str, mapping: Mapping[str, str]) -> Columns:
    """Return the columns of the table that are wanted; of several, each may have what others lack.

    Those come first that are first in NAMES, and those without any value only if there is no
    other.
    """
    columns = list(zip(table.column_names, table.columns, strict=True))
    filled = [own for own, column in columns if _has_values(column)]
    _check_names(table.column_names, filled, mapping, name)
    by_name = {plain(own): own for own in [*reversed(table.column_names), *filled]}
    located: Columns = {}
    for what, names in NAMES.items():
        if what in mapping:
            if mapping[what]:
                located[what] = {mapping[what]: _mapped(table, name, what, mapping[what])}
            continue
        found = [by_name[own] for own in names if own in by_name]
        found = [own for own in found if not pa.types.is_null(table[own].type)]
        if what == "id":
            found = [own for own in found if _is_id(own, table[own])]
        if what == "answer_start":
            found = [
                own for own in found if plain(own) != OF_MANY_THINGS or _are_spans(table[own].type)
            ]
        first, *others = [own for own in found if own in filled] or found[:1] or [None]
        if first is not None:
            others = [own for own in others if may_be(what, table[own].type)]
            if what == "answer_start":
                others = [own for own in others if plain(own) not in VAGUE_START_NAMES]
            located[what] = {own: table[own] for own in (first, *others)}
    own = by_name.get("text")
    if own and "answers" not in {*located, *mapping} and "context" in located:
        # As notebooks flatten SQuAD; without an offset it might be anything.
        if not all(plain(start) in VAGUE_START_NAMES for start in located.get("answer_start", ())):
            located["answers"] = {own: table[own]}
    return located


def _are_spans(kind: pa.DataType) -> bool:
    """Whether a type is that of MRQA's spans: {start, end} of each gold, all places of either."""
    return (
        is_list(kind)
        and pa.types.is_struct(kind.value_type)
        and any(field.name == "start" and is_list(field.type) for field in kind.value_type)
    )


def _has_values(column: pa.ChunkedArray) -> bool:
    """Whether a column has any value; lists without one, also those of a struct, are none."""
    if pa.types.is_struct(column.type):
        parts = (part for chunk in column.chunks for part in chunk.flatten())
        return any(_has_values(pa.chunked_array([part])) for part in parts)
    if is_list(column.type):
        return any(lengths(chunk).any() for chunk in column.chunks)
    return bool(column.null_count < len(column))


def _is_id(own: str, column: pa.ChunkedArray) -> bool:
    """Whether a column of a usual name tells questions apart: a `uuid` may be the passage's."""
    if plain(own) not in OF_ANYTHING:
        return True
    try:
        texts = pa.chunked_array([to_texts(chunk, "id") for chunk in column.chunks])
    except WrongType:
        return False
    return len(texts.drop_null().unique()) == len(texts) - texts.null_count


def may_be(what: str, kind: pa.DataType) -> bool:
    """Whether a column of a type can be what its name says."""
    if what == "answers":
        is_gold = not pa.types.is_struct(kind) or text_field(field.name for field in kind)
        return bool(is_gold) and not pa.types.is_boolean(kind)
    if what in ("question", "context"):  # workbooks and JSON have questions such as 42
        return is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return what in ("id", "title", "answer_start") or not pa.types.is_nested(kind)


def _check_names(
    names: list[str], filled: list[str], mapping: Mapping[str, str], name: str
) -> None:
    """Refuse several columns of one name, and several with values whose names differ in spelling.

    Raises:
        DataError: Which of them is meant, only the user knows.
    """
    counts, spellings = Counter(names), Counter(map(plain, filled))
    named = {part for path in mapping.values() for part in (path, path.split(".")[0])}
    usual = {own for what in NAMES if what not in mapping for own in NAMES[what]} - VAGUE_NAMES
    same = [
        own for own in counts if counts[own] > 1 and (own in named or plain(own) in KNOWN_NAMES)
    ]
    alike = [own for own in filled if spellings[plain(own)] > 1 and plain(own) in usual]
    if twice := dict.fromkeys([*same, *alike]):
        raise DataError(
            f"{name} has several columns of one name: {', '.join(twice)}.",
            "Rename or remove all of them but one, or name it with --data.columns.",
        )


def _mapped(table: pa.Table, name: str, what: str, path: str) -> pa.ChunkedArray:
    """Return the column that the user named, such as q or labels.text; names may have dots too."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        own, fields = ".".join(parts[:end]), parts[end:]
        if own in table.column_names:
            with suppress(pa.ArrowException):
                chunks = [_field(chunk, fields) for chunk in table[own].chunks]
                return pa.chunked_array(chunks) if fields and chunks else table[own]
    raise DataError(
        f"{name} has no column {path}, which --data.columns names for {what}; it has "
        f"{held(table)}.",
        "Correct --data.columns.",
    )


def _field(column: pa.Array, fields: list[str]) -> pa.Array:
    """Return a field of a field of structs, also of those in lists."""
    if not fields:
        return column
    if not is_list(column.type):
        return _field(pc.struct_field(column, fields[0]), fields[1:])
    offsets = np.concatenate([[0], np.cumsum(lengths(column))])
    values = _field(column.flatten(), fields)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=column.is_null())
