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
# A header, line ends inside of its quoted cells included.
_HEADER = re.compile(r'(?:(?<![^,;\t| ])"(?:[^"]|"")*"|[^\r\n])*')
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
    header = _HEADER.match(head.decode("utf-8", "surrogateescape").lstrip("\r\n"))
    first = header[0] if header else ""
    if any("\udc80" <= letter <= "\udcff" for letter in first):
        shown = first.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise DataError(f"The header of {name} is not valid UTF-8: {shown[:200]}.", AS_UTF8)
    delimiter = told[1].decode("utf-8", "replace") if told else ""
    if delimiter not in _DELIMITERS or not delimiter:
        delimiter = max(_DELIMITERS, key=first.count)
    content, options = _as_marked(content, delimiter, name)
    names = _header(content[: 1 << 16].to_pybytes(), delimiter, options)
    try:
        return pacsv.read_csv(
            pa.BufferReader(content),
            pacsv.ReadOptions(block_size=_BLOCK_BYTES),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, **options),
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


def _header(head: bytes, delimiter: str, options: dict[str, Any]) -> list[str]:
    """Return the names of columns as Arrow will read them; a header may have several lines."""
    lines = csv.reader(
        io.StringIO(head.decode("utf-8", "replace"), newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if options.get("quote_char", True) else csv.QUOTE_NONE,
        escapechar=options.get("escape_char") or None,
    )
    return next(filter(None, lines), [])


def _as_marked(content: pa.Buffer, delimiter: str, name: str) -> tuple[pa.Buffer, dict[str, Any]]:
    r"""Return the content, and how quotes are written where not doubled: as \", or in TSV as is.

    Read as doubled, the first would end a cell too soon, and the second could swallow rows.

    Raises:
        DataError: A quoted cell holds quotes that are written in neither way, or does not end.
    """
    mark, view = re.escape(delimiter.encode()), memoryview(content)
    if not re.search(b'"', view):
        return content, {}
    is_escaped = bool(_ESCAPED.search(view) and _ESCAPED_IN_CELL.search(view))  # the first is quick
    quoted = _SPARKS if is_escaped else _QUOTED
    if delimiter != "\t":
        content = _without_padding(content, mark, quoted)
    elif not is_escaped and _STRAY.search(view):
        lines = [line for line in view.tobytes().splitlines() if line]
        # No header in quotes, and every line a row: nothing is quoted.
        if lines[0][:1] != b'"' and len({line.count(b"\t") for line in lines}) == 1:
            return content, {"quote_char": False}
    _check_quotes(content, mark, quoted, name)
    if not is_escaped:
        return content, {}
    return _with_doubled_backslashes(content, mark), {"escape_char": "\\"}


def _without_padding(content: pa.Buffer, mark: bytes, quoted: bytes) -> pa.Buffer:
    """Cut off the blanks between cells, if they stand before quotes: only there are they no text.

    Left there, the quotes would be text, and what they quote not quoted.
    """
    if not re.search(rb'%b +"[^"%b\r\n]' % (mark, mark), memoryview(content)):
        return content
    alone = rb" *(%b) *(?=[%b\r\n]|\Z)" % (quoted, mark)
    other = rb'( +"[^%b\r\n]*)| *([^%b\r\n]*)' % (mark, mark)  # a text with quotes in it
    cell = re.compile(rb"(^|\r|%b)(?:%b|%b)" % (mark, alone, other), re.MULTILINE)
    return pa.py_buffer(cell.sub(rb"\1\2\3\4", content.to_pybytes()))


def _check_quotes(content: pa.Buffer, mark: bytes, quoted: bytes, name: str) -> None:
    """Refuse what Arrow would read as a text that nobody wrote, rows after it included."""
    view = memoryview(content)
    unquoted = rb'[^"%b\r\n][^%b\r\n]*' % (mark, mark)
    cell = rb'(?:^|\r|%b)(?:%b(?P<rest> *[^%b\s])?|%b|(?P<open>"))' % (mark, quoted, mark, unquoted)
    for found in re.finditer(cell, view, re.MULTILINE):
        if found["rest"] or found["open"]:
            line = 1 + view[: found.start()].tobytes().count(b"\n")
            why = "does not end" if found["open"] else "holds quotes that are not doubled"
            raise DataError(
                f"{name}, line {line}: a cell that begins with a quote {why}.",
                "Put such a cell in quotes as a whole, and write each quote inside of it twice, as "
                'in "the ""old"" bridge".',
            )


def _with_doubled_backslashes(content: pa.Buffer, mark: bytes) -> pa.Buffer:
    """Keep the backslashes that mark no quote or backslash of a quoted cell: Arrow drops each."""
    cell_or_other = re.compile(rb"(?<![^%b\r\n])%b|\\" % (mark, _SPARKS))

    def doubled(found: re.Match[bytes]) -> bytes:
        return re.sub(rb'\\(["\\])|\\', lambda each: each[0] if each[1] else rb"\\", found[0])

    return pa.py_buffer(cell_or_other.sub(doubled, content.to_pybytes()))
