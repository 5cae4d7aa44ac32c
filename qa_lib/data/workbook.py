"""Workbooks of Excel: the sheet that has contexts, its cells as texts."""

from __future__ import annotations

import datetime
import io
import re
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from qa_lib.data.column_names import CONTEXT_NAMES
from qa_lib.data.conversion import plain
from qa_lib.errors import DataError
from qa_lib.runs import storage

_MOST_ABOVE_HEADER = 9  # rows of a sheet, such as its title
_PERCENT = re.compile(r"0(?:\.(0+))?(\s*)%")  # of a number format: decimal places, the blank
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")

Row = tuple[str | None, ...]


def read(content: pa.Buffer, name: str, mapped: frozenset[str]) -> pa.Table:
    """Read the sheet of a workbook that has contexts, else the first.

    Args:
        content: The bytes of the .xlsx file.
        name: Its name, for messages.
        mapped: Columns that the user named.

    Returns:
        Text columns: dates as 1990-05-05, percentages as they are shown, numbers as they are
        stored; null where a cell is empty or an error.

    Raises:
        DataError: It is no workbook, or has several such sheets.
    """
    import openpyxl

    try:
        book = openpyxl.load_workbook(
            io.BytesIO(content.to_pybytes()), read_only=True, data_only=True, keep_links=False
        )
        sheets = {sheet.title: _rows(sheet) for sheet in book.worksheets}
    except Exception as error:  # of zip, XML or openpyxl, without a common base
        raise DataError(
            f"{name} is not a workbook: {storage.first_line(error)}.",
            "Save it again as .xlsx, or as CSV (UTF-8).",
        ) from None
    wanted = mapped.union(CONTEXT_NAMES)
    headers: dict[str, int] = {}  # the row of each sheet that names a context
    for title, rows in sheets.items():
        for place, row in enumerate(rows[: _MOST_ABOVE_HEADER + 1]):
            if place + 1 < len(rows) and any(plain(cell) in wanted for cell in row if cell):
                headers.setdefault(title, place)
    if len(headers) > 1:
        raise DataError(
            f"{name} has questions on several sheets: {', '.join(headers)}.",
            "Save each as a file of its own, named after its split (train, dev), or all on one.",
        )
    title, place = next(iter(headers.items()), (next(iter(sheets), ""), 0))
    header, *rows = sheets.get(title, [])[place:] or [()]
    columns = list(zip_longest(header, *rows))
    values = [pa.array(column[1:], pa.string()) for column in columns]
    return pa.table(values, [column[0] or "" for column in columns])


def _rows(sheet: Any) -> list[Row]:
    """Return the rows of a sheet down to the last that has a value."""
    sheet.reset_dimensions()  # what a sheet says of its size may be wrong
    rows = [tuple(map(_text, row)) for row in sheet.rows]
    while rows and not any(rows[-1]):
        rows.pop()
    return rows


def _text(cell: Any) -> str | None:
    """Return the text of a cell, None where it has none."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return None
    if isinstance(value, str):
        return _unescaped(value) or None
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if percent := _PERCENT.search(cell.number_format):
        decimals, blank = percent.groups()
        return f"{100 * value:.{len(decimals or '')}f}{blank}%"
    return str(int(value) if value == int(value) else value)


def _unescaped(text: str) -> str:
    """Return a text without the escapes that stand for characters, such as _x000D_ (ECMA-376)."""
    if "_x" not in text:
        return text
    plain_text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    pairs = plain_text.encode("utf-16-le", "surrogatepass")  # an escape holds half a pair
    return pairs.decode("utf-16-le", "replace")
