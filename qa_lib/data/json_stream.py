"""A large JSON document, whose items are parsed one at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from qa_lib.data.json_items import asks, first_items
from qa_lib.data.layouts import refuse_others
from qa_lib.runs import json_text

_WINDOW_BYTES = 1 << 20  # of a large document that are text at a time
_HEAD = re.compile(
    r'\ufeff?\s*(?P<object>\{(\s*"\w+"\s*:\s*("[^"\\]*"|[\w.+-]+)\s*,)*\s*"data"\s*:\s*)?\['
)
_SPACE = re.compile(r"\s*")


def streamed(content: pa.Buffer) -> Iterator[Any]:
    """Yield the items of `data`, or of a list, as they are parsed; little of it is ever text.

    Raises:
        ValueError: The content is not JSON, or of another form.
    """
    pieces = _decoded(content)
    text = next(pieces, "")
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("no list of items")
    decoder, at = json.JSONDecoder(parse_float=str), head.end()
    while True:
        at = _after_space(text, at)
        try:
            item, end = decoder.raw_decode(text, at)
            end = _after_space(text, end)
            if end == len(text):
                raise ValueError("the list does not end")
        except ValueError:  # an item that goes on in the next piece
            more = "".join(_until(pieces, len(text) - at))
            if not more:
                raise
            text, at = text[at:] + more, 0
            continue
        refuse_others(item, "")
        yield item
        at = end + 1
        if text[end] != ",":
            break
    rest = (text[at:] + "".join(pieces)).strip()
    others = json_text.parse("{" + rest.removeprefix(",")) if head["object"] else {}
    if any(map(asks, first_items(others).values())):
        raise ValueError("several lists of items")
    if text[end] != "]" or (rest and not head["object"]):
        raise ValueError("the list does not end")


def _decoded(content: pa.Buffer) -> Iterator[str]:
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(content)
    for begin in range(0, len(view), _WINDOW_BYTES):
        end = begin + _WINDOW_BYTES
        yield decoder.decode(view[begin:end], end >= len(view))


def _until(pieces: Iterator[str], num_characters: int) -> Iterator[str]:
    """Yield pieces of so many characters together, at least one, so that few items are repeated."""
    for piece in pieces:
        yield piece
        num_characters -= len(piece)
        if num_characters <= 0:
            return


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()
