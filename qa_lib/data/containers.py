"""One reader for each container of questions: bytes of a file to a table of whatever columns."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qa_lib.data import delimited, json_files, workbook
from qa_lib.data.column_names import SHARED_NAMES
from qa_lib.data.columns import BLANK_ROWS
from qa_lib.data.conversion import plain
from qa_lib.errors import DataError
from qa_lib.runs import storage

_COMPRESSIONS = {".gz": None, ".zst": "zstd", ".bz2": "bz2"}  # gzip always shows: see `_PACKED`
_PACKED = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_MAX_EXPANSION = 100  # questions unpack to some ten times their size
_UNPACKED_ALWAYS_BYTES = 1 << 20
_MARKED = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UNMARKED = {  # which of the first four bytes are zero
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
}


def split_suffix(name: str) -> tuple[str, str, str]:
    """Return a file name's stem, its suffix as in `SUFFIXES`, and that of its compression."""
    stem, suffix = os.path.splitext(name)
    compression = suffix.lower() if suffix.lower() in _COMPRESSIONS else ""
    if compression:
        stem, suffix = os.path.splitext(stem)
    return stem, suffix.lower(), compression


def read(content: pa.Buffer, name: str, mapped: frozenset[str] = frozenset()) -> pa.Table:
    """Read a file of the container that its suffix names.

    Args:
        content: The bytes of the file.
        name: Its name, for messages too.
        mapped: Columns that the user named, which JSON keeps.

    Returns:
        The columns that the file has, for `columns.normalise`.

    Raises:
        DataError: The container is unknown, or the file truncated, damaged or of another kind.
    """
    _, suffix, compression = split_suffix(name)
    if suffix not in _READERS:
        raise DataError(
            f"The format of {name} is unknown.",
            f"Use a file of {', '.join(SUFFIXES)}, also with {', '.join(_COMPRESSIONS)}.",
        )
    if not len(content):
        raise DataError(f"{name} is empty, or cut off.", "Fetch or write it again.")
    head = content[:40].to_pybytes()
    if head.startswith(b"version https://git-lfs."):
        raise DataError(
            f"{name} is not the file but Git LFS's pointer to it.", "Fetch it with `git lfs pull`."
        )
    if head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(
            f"{name} is not the file but a web page (HTML or XML).",
            "Fetch the file itself (of GitHub: the raw file), logged in if its site asks for it.",
        )
    # Its bytes tell, not its name: browsers unpack files and keep the name, servers the reverse.
    packed = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    packed = packed or _COMPRESSIONS.get(compression)
    try:
        if packed:
            content = _unpacked(content, name, packed)
        if suffix in (".json", ".jsonl", ".ndjson"):
            return json_files.read(_as_utf8(content), name, mapped)
        table = _without_blank_rows(_READERS[suffix](content, name, mapped))
        return json_files.unnest(table, name, mapped)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{name} is truncated or damaged: {storage.first_line(error)}.",
            "Fetch or write it again.",
        ) from None


def _unpacked(content: pa.Buffer, name: str, kind: str) -> pa.Buffer:
    """Unpack a file, as long as it may be text: a few kilobytes can hold gigabytes of zeros."""
    most = max(_MAX_EXPANSION * len(content), _UNPACKED_ALWAYS_BYTES)
    with pa.CompressedInputStream(pa.BufferReader(content), kind) as stream:
        unpacked = stream.read_buffer(most)
        if len(unpacked) == most and stream.read(1):
            raise DataError(
                f"{name} unpacks to more than {_MAX_EXPANSION} times its size.",
                "Unpack it yourself, if that is right, and name the unpacked file.",
            )
    return unpacked


def _read_parquet(content: pa.Buffer, name: str, mapped: frozenset[str]) -> pa.Table:
    """Read Parquet; contexts and titles, which rows have in common, as dictionaries."""
    metadata = pq.read_metadata(pa.BufferReader(content))
    _check_counts(metadata)
    fields = metadata.schema.to_arrow_schema()
    shared = [
        field.name
        for field in fields
        if plain(field.name) in SHARED_NAMES and field.type in (pa.string(), pa.binary())
    ]
    return pq.read_table(pa.BufferReader(content), read_dictionary=shared)


def _check_counts(metadata: pq.FileMetaData) -> None:
    """Check that a footer's counts agree: Arrow believes the smallest, and drops the other rows.

    Raises:
        ArrowInvalid: They do not.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    agree = metadata.num_rows == sum(group.num_rows for group in groups)
    for group in groups:
        for number in range(group.num_columns):
            is_flat = metadata.schema.column(number).max_repetition_level == 0
            num_values = group.column(number).num_values
            # A list has at least one value a row, an empty one too.
            agree &= num_values == group.num_rows if is_flat else num_values >= group.num_rows
    if not agree:
        raise pa.ArrowInvalid("the counts of rows in its footer disagree")


def _without_blank_rows(table: pa.Table) -> pa.Table:
    """Leave out rows without any value, and note which: messages name rows of the file."""
    blank = None
    for column in table.columns:
        if not column.null_count:
            return table
        nulls = column.is_null()
        blank = nulls if blank is None else pc.and_(blank, nulls)
    if blank is None:
        return table
    filled = np.flatnonzero(~blank.to_numpy())
    num_inside = len(filled) and int(filled[-1]) + 1  # spreadsheets have many at their end
    numbers = np.setdiff1d(np.arange(num_inside), filled).tolist()
    noted = {**(table.schema.metadata or {}), BLANK_ROWS: json.dumps(numbers)}
    return table.filter(pc.invert(blank)).replace_schema_metadata(noted)


def _read_arrow(content: pa.Buffer, name: str, mapped: frozenset[str]) -> pa.Table:
    """Read Arrow's file format, which is feather, or its stream format, which `datasets` writes."""
    reader = pa.BufferReader(content)
    head = content[:6].to_pybytes()
    if head.startswith(b"FEA1"):
        raise DataError(
            f"{name} is feather of version 1, which Arrow no longer reads.",
            "Write it again with a current pandas or pyarrow, or as Parquet.",
        )
    if head == b"ARROW1":
        return pa.ipc.open_file(reader).read_all()
    return pa.ipc.open_stream(reader).read_all()


def _as_utf8(content: pa.Buffer) -> pa.Buffer:
    """Return text as UTF-8 where it is UTF-16 or 32, as a mark or the zeros in Latin letters say.

    Excel writes UTF-16.
    """
    head = content[:4].to_pybytes()
    zeros = tuple(byte == 0 for byte in head)
    if encoding := _MARKED.get(head) or _MARKED.get(head[:2]) or _UNMARKED.get(zeros):
        return pa.py_buffer(content.to_pybytes().decode(encoding).encode("utf-8"))
    return content


def _read_delimited(content: pa.Buffer, name: str, mapped: frozenset[str]) -> pa.Table:
    return delimited.read(_as_utf8(content), name)


_READERS: dict[str, Callable[[pa.Buffer, str, frozenset[str]], pa.Table]] = {
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".jsonl": json_files.read,
    ".ndjson": json_files.read,
    ".json": json_files.read,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".xlsx": workbook.read,
}
SUFFIXES = tuple(_READERS)
