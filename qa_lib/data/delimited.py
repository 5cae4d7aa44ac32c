"""CSV and TSV with a header; the file itself tells its delimiter and how it marks quotes."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from qa_lib.data.conversion import AS_UTF8
from qa_lib.errors import DataError
from qa_lib.runs import storage

_BLOCK_BYTES = 1 << 24  # no row may be longer
_DELIMITERS = ",;\t|"
_BOM = b"\xef\xbb\xbf"
_SEPARATOR = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # a first line for Excel
# A quote in a quoted cell, as Spark writes it; at the cell's end, \" is a backslash and the end.
_ESCAPED = re.compile(rb'\\"[^",;\t|\r\n]')
_ESCAPED_IN_CELL = re.compile(rb'(?:^|[,;\t|]) *"[^"]*' + _ESCAPED.pattern, re.MULTILINE)
_QUOTED = rb'"[^"]*(?:""[^"]*)*"'
_SPARKS = rb'"[^"\\]*(?:(?:""|\\(?s:.))[^"\\]*)*"'
_ALONE = re.compile(rb'[^",;\t|\r\n]"[^",;\t|\r\n]')  # a quote inside of a text, not doubled
# A cell that begins with a quote and is no quoted cell of this line.
_STRAY = re.compile(rb'(?:^|\t)"(?![^"\t\n]*(?:""[^"\t\n]*)*"\r?(?:\t|$))', re.MULTILINE)


def read(content: pa.Buffer, name: str) -> pa.Table:
    """Read UTF-8 text as a table whose columns are all text.

    Raises:
        DataError: The header is not UTF-8, rows differ in their number of columns, or quotes
            are not doubled.
    """
    head = content[: 1 << 16].to_pybytes()
    skipped = len(_BOM) if head.startswith(_BOM) else 0
    told = _SEPARATOR.match(head, skipped)
    if told:
        skipped = told.end()
    content, head = content[skipped:], head[skipped:]
    first = head.decode("utf-8", "surrogateescape").lstrip("\r\n").splitlines()[:1] or [""]
    if any("\udc80" <= letter <= "\udcff" for letter in first[0]):
        header = first[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise DataError(f"The header of {name} is not valid UTF-8: {header[:200]}.", AS_UTF8)
    delimiter = told[1].decode("utf-8", "replace") if told else ""
    if delimiter not in _DELIMITERS or not delimiter:
        delimiter = max(_DELIMITERS, key=first[0].count)
    if delimiter != "\t":
        content = _without_padding(content, re.escape(delimiter.encode()))
    names = next(csv.reader(io.StringIO(first[0]), delimiter=delimiter), [])
    try:
        return pacsv.read_csv(
            pa.BufferReader(content),
            pacsv.ReadOptions(block_size=_BLOCK_BYTES),
            pacsv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, **_quoting(content, delimiter, name)
            ),
            # "NA", "null" and "nan" are texts; bytes that are not UTF-8 spoil their row only.
            pacsv.ConvertOptions(
                column_types={column: pa.string() for column in names},
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{name} is not a table of text: {storage.first_line(error)}.",
            "Write a header, the same columns in every row, and quote texts that hold the "
            "delimiter, quotes or line ends.",
        ) from None


def _without_padding(content: pa.Buffer, delimiter: bytes) -> pa.Buffer:
    """Cut off the blanks between cells, if they stand before quotes: only there are they no text.

    Left there, the quotes would be text, and what they quote not quoted.
    """
    view = memoryview(content)
    if not re.search(rb'%b +"[^"%b\r\n]' % (delimiter, delimiter), view):
        return content
    is_escaped = _ESCAPED.search(view) and _ESCAPED_IN_CELL.search(view)
    quoted = rb" *(%b) *(?=[%b\r\n]|\Z)" % (_SPARKS if is_escaped else _QUOTED, delimiter)
    other = rb'( +"[^%b\r\n]*)| *([^%b\r\n]*)' % (delimiter, delimiter)  # a text with quotes in it
    cell = re.compile(rb"(^|\r|%b)(?:%b|%b)" % (delimiter, quoted, other), re.MULTILINE)
    return pa.py_buffer(cell.sub(rb"\1\2\3\4", content.to_pybytes()))


def _quoting(content: pa.Buffer, delimiter: str, name: str) -> dict[str, Any]:
    r"""Return how quotes are written where they are not doubled: as \", or in TSV as they are.

    Read as doubled, the first would end a cell too soon, and the second could swallow rows.

    Raises:
        DataError: A quoted cell holds quotes that are written in neither way.
    """
    view = memoryview(content)
    if _ESCAPED.search(view) and _ESCAPED_IN_CELL.search(view):  # the first is quick
        return {"escape_char": "\\"}
    if delimiter == "\t" and _STRAY.search(view):
        lines = [line for line in view.tobytes().splitlines() if line]
        # No header in quotes, and every line a row: nothing is quoted.
        if lines[0][:1] != b'"' and len({line.count(b"\t") for line in lines}) == 1:
            return {"quote_char": False}
    if _ALONE.search(view):
        mark = re.escape(delimiter.encode())
        unquoted = rb'[^"%b\r\n][^%b\r\n]*' % (mark, mark)
        cell = rb"(?:^|\r|%b)(?:%b(?P<rest> *[^%b\s])?|%b)?" % (mark, _QUOTED, mark, unquoted)
        for found in re.finditer(cell, view, re.MULTILINE):
            if found["rest"]:
                line = 1 + view[: found.end()].tobytes().count(b"\n")
                raise DataError(
                    f"{name}, line {line}: quotes inside of a quoted cell are not doubled.",
                    'Write each of them twice, such as "the ""old"" bridge".',
                )
    return {}
