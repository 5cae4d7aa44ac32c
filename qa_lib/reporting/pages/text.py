"""Figures as text, and text with answers marked in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qa_lib.runs.storage import short_name

ABSENT = "–"
_LONGEST_LIST = 16


def figure(value: Any, digits: int = 2) -> str:
    """Return a figure as it is shown: 3,078; 79.70; 0.0002; yes; – for what is absent; a list."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return (
            f"{value:,.{digits}f}" if abs(value) >= 1 or value == 0 else f"{value:.{digits + 1}g}"
        )
    if isinstance(value, (list, tuple)):
        return (
            ", ".join(map(str, value)) if len(value) <= _LONGEST_LIST else f"{len(value):,} entries"
        )
    return str(value)


def score(value: float | None) -> str:
    """Return a score of 0 to 100 with two decimals."""
    return ABSENT if value is None else f"{value:.2f}"


def mebibytes(value: float | None) -> str:
    """Return bytes as MiB."""
    return ABSENT if value is None else f"{value / 2**20:,.1f}"


def pieces(case: Mapping[str, Any], around: int | None = None) -> list[tuple[str, str]]:
    """Cut a context at its answer and at the gold answer, for highlighting.

    Args:
        case: With `context`, `char_start`, `char_end`, `gold` texts, and `gold_start`, where the
            first of them begins; None for what is not known.
        around: Leave out what is further than so many characters from a mark; None leaves it in.

    Returns:
        (text, kind) in order; kind is "", "answer", "gold", "both", or "gap" for what is left out.
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
    found: list[tuple[str, str]] = []
    for character, kind in zip(context, kinds, strict=True):
        if found and found[-1][1] == kind:
            found[-1] = found[-1][0] + character, kind
        else:
            found.append((character, kind))
    return [(" … " if kind == "gap" else text, kind) for text, kind in found]


def _with_gaps(context: str, kinds: list[str], around: int) -> list[str]:
    """Mark as gaps what is far from every mark, whole words at a time."""
    marked = [index for index, kind in enumerate(kinds) if kind] or [0]
    near = [False] * len(kinds)
    for index in marked:
        first, end = max(0, index - around), min(len(kinds), index + around + 1)
        near[first:end] = [True] * (end - first)
    # A word that is cut is shown whole.
    for index in range(1, len(kinds)):
        near[index] |= near[index - 1] and not context[index - 1].isspace()
    for index in range(len(kinds) - 2, -1, -1):
        near[index] |= near[index + 1] and not context[index + 1].isspace()
    return [kind if close else "gap" for kind, close in zip(kinds, near, strict=True)]


FILTERS = {
    "figure": figure,
    "score": score,
    "mebibytes": mebibytes,
    "pieces": pieces,
    "short": short_name,
}
