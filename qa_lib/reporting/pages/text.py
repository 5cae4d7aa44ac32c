"""Figures as text, and passages with marked answers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from qa_lib.runs.storage import short_name

ABSENT = "–"
_MAX_LIST = 16
_MAX_WORD = 100  # characters that an excerpt grows by, to end between words


def figure(value: Any, digits: int = 2) -> str:
    """Return a value as text: 3,078; 79.70; 0.0002; yes; a list; – for None."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        is_small = 0 < abs(value) < 1
        return f"{value:.{digits + 1}g}" if is_small else f"{value:,.{digits}f}"
    if isinstance(value, (list, tuple)):
        return f"{len(value):,} entries" if len(value) > _MAX_LIST else ", ".join(map(str, value))
    return str(value)


def score(value: float | None) -> str:
    """Return a score of 0 to 100 with two decimals."""
    return ABSENT if value is None else f"{value:.2f}"


def num_bytes(value: float | None) -> str:
    """Return bytes in the largest unit that leaves a number of at least 1."""
    if value is None:
        return ABSENT
    for unit in ("bytes", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


def mebibytes(value: float | None) -> str:
    """Return bytes as MiB."""
    return ABSENT if value is None else f"{value / 2**20:,.1f}"


def pieces(case: Mapping[str, Any], around: int | None = None) -> list[tuple[str, str]]:
    """Split a context at its answer and at the gold answer, for highlighting.

    Args:
        case: With `context`, `char_start`, `char_end`, `gold` texts, and `gold_start` of the first
            of these; None for unknown values.
        around: Leave out text further than this many characters from a mark; None keeps it all.

    Returns:
        (text, kind) in order; kind is "", "answer", "gold", "both", or "gap" for omitted text.
    """
    context = str(case.get("context") or "")
    gold, start = next(iter(case.get("gold") or ()), ""), case.get("gold_start")
    marks: dict[str, tuple[int, int]] = {}
    if gold and isinstance(start, int) and start >= 0 and context.startswith(gold, start):
        marks["gold"] = (start, start + len(gold))
    start, end = case.get("char_start"), case.get("char_end")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(context):
        marks["answer"] = (start, end)
    kept = [(0, len(context))]
    if around is not None:
        kept = [_near(context, first, end, around) for first, end in marks.values() or [(0, 1)]]
    # Between two neighbouring bounds everything is of one kind.
    bounds = {0, len(context)}.union(*marks.values(), *kept)
    parts: list[tuple[str, str]] = []
    for first, end in pairwise(sorted(bounds)):
        kinds = [kind for kind, mark in marks.items() if mark[0] <= first < mark[1]]
        kind = "both" if len(kinds) == 2 else "".join(kinds)
        if not kind and not any(near[0] <= first < near[1] for near in kept):
            parts.append((" … ", "gap"))
        elif parts and parts[-1][1] == kind:
            parts[-1] = (parts[-1][0] + context[first:end], kind)
        else:
            parts.append((context[first:end], kind))
    return parts


def _near(context: str, first: int, end: int, around: int) -> tuple[int, int]:
    """Return the span of the words that are at most `around` characters from a span.

    A longer word than `_MAX_WORD` is cut: a text without spaces is one word.
    """
    start, stop = max(first - around, 0), min(end + around, len(context))
    before, after = start, stop
    while before > max(start - _MAX_WORD, 0) and not _starts_word(context, before):
        before -= 1
    while after < min(stop + _MAX_WORD, len(context)) and not _starts_word(context, after):
        after += 1
    return before, after


def _starts_word(context: str, index: int) -> bool:
    return context[index - 1].isspace() and not context[index].isspace()


FILTERS = {
    "figure": figure,
    "score": score,
    "mebibytes": mebibytes,
    "pieces": pieces,
    "short": short_name,
}
