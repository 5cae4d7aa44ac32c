"""Figures as text, and passages with marked answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from qa_lib.runs.storage import short_name

ABSENT = "–"
_MAX_LIST = 16


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
    kinds = [""] * len(context)
    gold, start = next(iter(case.get("gold") or ()), ""), case.get("gold_start")
    if isinstance(start, int) and start >= 0 and context.startswith(gold, start):
        kinds[start : start + len(gold)] = ["gold"] * len(gold)
    start, end = case.get("char_start"), case.get("char_end")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(context):
        for index in range(start, end):
            kinds[index] = "both" if kinds[index] == "gold" else "answer"
    if around is not None:
        kinds = _with_gaps(context, kinds, around)
    runs = groupby(zip(context, kinds, strict=True), key=lambda pair: pair[1])
    return [(" … " if kind == "gap" else "".join(c for c, _ in run), kind) for kind, run in runs]


def _with_gaps(context: str, kinds: list[str], around: int) -> list[str]:
    """Mark as gaps the words that are far from every mark."""
    marked = [index for index, kind in enumerate(kinds) if kind] or [0]
    kinds = list(kinds)
    for word in re.finditer(r"\S+\s*|\s+", context):
        first, end = word.span()
        if not any(first - around <= index < end + around for index in marked):
            kinds[first:end] = ["gap"] * (end - first)
    return kinds


FILTERS = {
    "figure": figure,
    "score": score,
    "mebibytes": mebibytes,
    "pieces": pieces,
    "short": short_name,
}
