"""Where a gold stands in its context, also where the two are spelled in different ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

# Soft hyphen, byte order mark, Arabic letter mark; joiners and marks, embeddings, isolates.
_CODES = (0xAD, 0xFEFF, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F))
UNSEEN = "".join(map(chr, (*_CODES, *range(0x2060, 0x2070))))
"""Characters without width."""
_RAISED = ("<super>", "<sub>")
_SAME = (
    dict.fromkeys(UNSEEN, "")
    | dict.fromkeys("‘’‚‛", "'")
    | dict.fromkeys("“”„‟", '"')
    | dict.fromkeys("‐‑‒–—―−", "-")
)
_OTHER = re.compile(f"[{''.join(_SAME)}]")


def as_meant(text: str, context: str, begin: int, lead: int = 0) -> tuple[int, int] | None:
    """Return the characters of a gold that does not stand at its offset as it is, or None.

    Some tools trim the text and forget the offset, or the reverse; some write text and context in
    different forms of Unicode; some count UTF-8 bytes, UTF-16 units or a line end as one character.

    Args:
        text: The gold, trimmed.
        context: Its context.
        begin: The offset of the trimmed text.
        lead: The characters that were cut off in front.
    """
    if lead and context.startswith(text, begin - lead):
        return begin - lead, begin - lead + len(text)
    near = begin + len(context[begin:]) - len(context[begin:].lstrip())
    if context.startswith(text, near):
        return near, near + len(text)
    # Decomposed, a letter is up to four.
    piece, needle = context[begin : begin + 4 * len(text) + 16], _needle(text)
    if needle and _fold(piece).startswith(needle):
        folded, first, last = _folded(piece)
        if folded.startswith(needle) and first[0] >= 0 and last[len(needle) - 1] >= 0:
            return begin + first[0], begin + last[len(needle) - 1]
    for meant in _recounted(context, begin):
        if context.startswith(text, meant):
            return meant, meant + len(text)
    return None


def _recounted(context: str, begin: int) -> Iterator[int]:
    """Yield the characters that an offset may mean if it counts something else."""
    if not context.isascii():
        yield len(context.encode()[:begin].decode(errors="ignore"))
        yield len(context.encode("utf-16-le")[: 2 * begin].decode("utf-16-le", "ignore"))
    meant, line_end = begin, context.find("\r")
    while 0 <= line_end < meant:
        meant, line_end = meant + 1, context.find("\r", line_end + 1)
    yield meant


def find(text: str, context: str) -> list[tuple[int, int]]:
    """Find where a text stands in a context.

    It is looked for as it is, then with white space and Unicode (NFKC, letters' case kept)
    normalised; a part of what one character stands for is no place: 1 is not in ½. Where it stands
    as whole words, other places do not count: 10 is not in 2010.

    Returns:
        Half-open ranges of characters of the context, in their order.
    """
    places = _occurrences(text, context) or _occurrences_folded(_needle(text), context)
    whole = [place for place in places if _is_whole_words(context, *place)]
    return whole or places


def _occurrences(text: str, context: str) -> list[tuple[int, int]]:
    places = []
    begin = context.find(text)
    while begin >= 0:
        places.append((begin, begin + len(text)))
        begin = context.find(text, begin + len(text))
    return places


def _occurrences_folded(needle: str, context: str) -> list[tuple[int, int]]:
    if not needle or needle not in _fold(context):
        return []
    folded, first, last = _folded(context)
    places = [(first[begin], last[end - 1]) for begin, end in _occurrences(needle, folded)]
    return [(begin, end) for begin, end in places if begin >= 0 and end >= 0]


def _is_whole_words(context: str, begin: int, end: int) -> bool:
    before, after = context[max(begin - 1, 0) : begin], context[end : end + 1]
    return not (
        (before.isalnum() and context[begin].isalnum())
        or (after.isalnum() and context[end - 1].isalnum())
    )


@cache
def _clusters() -> re.Pattern[str]:
    """Return what finds white space, and letters with all that Unicode may join to them or reorder.

    These are combining characters and the second of any two that one character stands for; the
    vowels and ends of Hangul's syllables, which no table lists, too; and what stands for any such.
    """
    letters = list(map(chr, range(0x20000)))
    parts = (unicodedata.decomposition(letter).split() for letter in letters)
    marks = {chr(int(pair[1], 16)) for pair in parts if len(pair) == 2 and "<" not in pair[0]}
    marks |= {*filter(unicodedata.combining, letters), *map(chr, range(0x1160, 0x1200))}
    marks |= {letter for letter in letters if unicodedata.normalize("NFKC", letter)[0] in marks}
    return re.compile(rf"\s+|[{UNSEEN}]|.[{''.join(sorted(marks))}]*", re.DOTALL)


@lru_cache(1024)
def _needle(text: str) -> str:
    return _fold(text).strip()


def _fold(text: str) -> str:
    """Return a text with white space, quotes, dashes and Unicode normalised."""
    text = unicodedata.normalize("NFKC", re.sub(r"\s+", " ", text))
    return _OTHER.sub(lambda found: _SAME[found.group()], text)


def _folded(text: str) -> tuple[str, list[int], list[int]]:
    """Return what `_fold` does, and where a place in it may begin and end.

    Returns:
        The text. For each of its characters, the one that it begins in the text given, and the one
        after that which it ends there; -1 inside of what one character stands for, and where a
        raised character begins: ² goes with what is before it, and is no 2.
    """
    letters: list[str] = []
    first: list[int] = []
    last: list[int] = []
    for cluster in _clusters().finditer(text):
        piece = cluster.group()
        folded = " " if piece.isspace() else _fold(piece)
        if not folded:
            continue
        inside = [-1] * (len(folded) - 1)
        is_raised = unicodedata.decomposition(piece[0]).startswith(_RAISED)
        letters += folded
        first += [-1 if is_raised else cluster.start(), *inside]
        last += [*inside, cluster.end()]
    return "".join(letters), first, last
