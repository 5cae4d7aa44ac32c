"""Numbers and dates compared by value, where sentence embeddings cannot.

"1,000" and "one thousand" are the same, "1990" and "1991" are not, and an encoder sees it the other
way round. Only what is surely the same or surely different is decided here.

    agree("$2.5 million", "2,500,000 dollars")   # Verdict.SAME
    agree("5 May 1990", "May 6, 1990")           # Verdict.DIFFERENT
    agree("in May 1990", "5 May 1990")           # Verdict.OPEN: less precise, not wrong

Which rules of reading decide how much on published predictions is in docs/results/scores.md.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Sequence

from qa_lib.evaluation.values import words
from qa_lib.evaluation.values.reading import Date, Number, Period, Value, read

_CONVERTED = 0.01  # relative error of a conversion: "100 miles" is written "160 km"
_MOST_EXTRA_WORDS = 2
# Ways of writing numbers that `read` does not know: what it makes of them contradicts nothing.
_UNREAD = re.compile(
    r"[½¼¾²³]|°F|/h\b|\d ?(?:k|bn)\b|\d[ \u202f](?:\d{3}\b|\d/)"
    r"|\b(?:(?:and|half) a|minus|cubic|nautical|fahrenheit)\b",
    re.IGNORECASE,
)


class Verdict(enum.Enum):
    """What values say of two texts."""

    SAME = "same"
    DIFFERENT = "different"
    OPEN = "open"


def agree(first: str, second: str) -> Verdict:
    """Compare the numbers and dates of two texts.

    Returns:
        DIFFERENT where a value of the text with fewer of them contradicts all of the other's; SAME
        where all values are equal, in order, and the words beside them are the same, or are in
        one text only, two at most and in lower case (what was counted); else OPEN.
    """
    one, two = read(first), read(second)
    if not one.values or not two.values:
        return Verdict.OPEN
    if _contradict(one.values, two.values):
        return Verdict.OPEN if _UNREAD.search(f"{first}\n{second}") else Verdict.DIFFERENT
    if not same_values(first, second):
        return Verdict.OPEN
    few, many = sorted((_telling(one.words), _telling(two.words)), key=len)
    if [word.lower() for word in few] == [word.lower() for word in many]:
        return Verdict.SAME
    is_counted = len(many) <= _MOST_EXTRA_WORDS and all(word.islower() for word in many)
    if not few and is_counted and words.DIRECTIONS.isdisjoint(many):
        return Verdict.SAME
    return Verdict.OPEN


def same_values(first: str, second: str) -> bool:
    """Say whether two texts hold equal values, at least one, in the same order."""
    one, two = read(first).values, read(second).values
    return 0 < len(one) == len(two) and all(
        _relate(a, b) is Verdict.SAME for a, b in zip(one, two, strict=True)
    )


def _contradict(one: Sequence[Value], two: Sequence[Value]) -> bool:
    """Say whether a value of the shorter list can be none of the other's that are left."""
    few, many = sorted((list(one), list(two)), key=len)
    for value in few:
        fitting = [other for other in many if _relate(value, other) is Verdict.SAME]
        fitting = fitting or [other for other in many if _relate(value, other) is Verdict.OPEN]
        if not fitting:
            return True
        many.remove(fitting[0])
    return False


def _telling(others: Sequence[str]) -> list[str]:
    return [word for word in others if word.lower() not in words.FILLERS]


def _relate(one: Value, two: Value) -> Verdict:
    """Compare two values; OPEN where one is less precise, or another kind of thing."""
    if isinstance(one, Number) and isinstance(two, Number):
        return _relate_numbers(one, two)
    first, second = _as_year(one), _as_year(two)
    if isinstance(first, Date) and isinstance(second, Date):
        return _relate_dates(first, second)
    if isinstance(first, Period) and isinstance(second, Period):
        return _relate_periods(first, second)
    period, other = (first, second) if isinstance(first, Period) else (second, first)
    if isinstance(period, Period) and isinstance(other, Date) and other.year is not None:
        return Verdict.OPEN if _within(other.year, period) else Verdict.DIFFERENT
    return Verdict.OPEN


def _as_year(value: Value) -> Value:
    """Take a bare number for a year where it can be one; below 100 it needs its era."""
    if isinstance(value, Number) and not value.units:
        if 100 <= value.amount < 3000 and value.amount == int(value.amount):
            return Date(int(value.amount))
    return value


def _relate_numbers(one: Number, two: Number) -> Verdict:
    """Compare two numbers by a meaning that both units share, by amount where one has no unit."""
    if not one.units or not two.units:
        return _verdict(math.isclose(one.amount, two.amount, rel_tol=1e-9, abs_tol=1e-12))
    return _verdict(
        any(
            dimension == other
            and math.isclose(
                one.amount * factor,
                two.amount * other_factor,
                rel_tol=1e-9 if factor == other_factor else _CONVERTED,
            )
            for dimension, factor in one.units
            for other, other_factor in two.units
        )
    )


def _relate_dates(one: Date, two: Date) -> Verdict:
    pairs = zip((one.year, one.month, one.day), (two.year, two.month, two.day), strict=True)
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    if any(a != b for a, b in both):
        return Verdict.DIFFERENT
    return Verdict.SAME if one == two and both else Verdict.OPEN


def _relate_periods(one: Period, two: Period) -> Verdict:
    if one.kind != two.kind:
        return Verdict.OPEN
    distance = one.amount - two.amount
    is_short = one.kind == "decade" and min(one.amount, two.amount) < 100  # "the sixties"
    return _verdict(distance == 0 or (is_short and distance % 100 == 0))


def _within(year: int, period: Period) -> bool:
    """Say whether a year may be in a period; any may be of a decade without its century."""
    if period.kind == "century":
        return period.amount == math.copysign(math.ceil(abs(year) / 100), year)
    if period.kind == "weekday":
        return True
    first, length = period.amount, 100 if period.amount % 100 == 0 else 10
    return first <= year < first + length if first >= 100 else first <= year % 100 < first + 10


def _verdict(is_same: bool) -> Verdict:
    return Verdict.SAME if is_same else Verdict.DIFFERENT
