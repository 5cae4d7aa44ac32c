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
from collections.abc import Sequence

from qa_lib.evaluation.values import words
from qa_lib.evaluation.values.numbers import Number, Unsure
from qa_lib.evaluation.values.reading import Date, Period, Value, read

_CONVERTED = 0.01  # relative error of a conversion: "100 miles" is written "160 km"
_MOST_EXTRA_WORDS = 2
_COUNT = (("count", 1.0),)


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
        return Verdict.DIFFERENT
    if not same_values(first, second):
        return Verdict.OPEN
    brief, full = sorted((one, two), key=lambda each: len(_telling(each.words)))
    few, many = ([word.lower() for word in _telling(each.words)] for each in (brief, full))
    if few == many:
        return Verdict.SAME
    is_counted = len(many) <= _MOST_EXTRA_WORDS and all(map(str.islower, _telling(full.words)))
    is_open = any(map(_may_belong_to_words, full.values, brief.values))
    if few or not is_counted or is_open or not words.DIRECTIONS.isdisjoint(many):
        return Verdict.OPEN
    return Verdict.SAME


def same_values(first: str, second: str) -> bool:
    """Say whether two texts hold equal values, at least one, in the same order."""
    one, two = read(first).values, read(second).values
    return 0 < len(one) == len(two) and all(
        _relate(a, b) is Verdict.SAME for a, b in zip(one, two, strict=True)
    )


def _contradict(one: Sequence[Value], two: Sequence[Value]) -> bool:
    """Say whether the values of the shorter list cannot all be different ones of the other's."""
    few, many = sorted((one, two), key=len)
    taken: dict[int, int] = {}  # place in many: place in few

    def finds_room(value: int, tried: set[int]) -> bool:
        for place, other in enumerate(many):
            if place in tried or _relate(few[value], other) is Verdict.DIFFERENT:
                continue
            tried.add(place)
            if place not in taken or finds_room(taken[place], tried):
                taken[place] = value
                return True
        return False

    return not all(finds_room(value, set()) for value in range(len(few)))


def _telling(others: Sequence[str]) -> list[str]:
    return [word for word in others if word.lower() not in words.FILLERS]


def _may_belong_to_words(value: Value, other: Value) -> bool:
    """Say whether words beside a value may be its unit, or a part of its spelling."""
    if isinstance(value, Number) and isinstance(other, Number):
        return bool(other.units) and not value.units
    return isinstance(value, Unsure) and not value.readings


def _relate(one: Value, two: Value) -> Verdict:
    """Compare two values; OPEN where one is less precise, unsure, or another kind of thing."""
    if isinstance(one, Unsure) or isinstance(two, Unsure):
        return _relate_unsure(one, two)
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


def _relate_unsure(one: Value, two: Value) -> Verdict:
    """Return what all readings agree on; without a reading only the same spelling is the same."""
    if one == two:
        return Verdict.SAME
    first, second = (
        value.readings if isinstance(value, Unsure) else (value,) for value in (one, two)
    )
    found = {_relate(a, b) for a in first for b in second}
    return found.pop() if len(found) == 1 else Verdict.OPEN


def _as_year(value: Value) -> Value:
    """Take a bare number for a year where it can be one; below 100 it needs its era."""
    if isinstance(value, Number) and not value.units:
        if 100 <= value.amount < 3000 and value.amount == int(value.amount):
            return Date(int(value.amount))
    return value


def _relate_numbers(one: Number, two: Number) -> Verdict:
    """Compare two numbers by a meaning that both units share, by amount where one has no unit.

    A share is no contradiction of a number of another kind: both "half" and "500" may be right.
    """
    fits = any(
        dimension == other
        and math.isclose(
            one.amount * factor,
            two.amount * other_factor,
            rel_tol=1e-9 if factor == other_factor else _CONVERTED,
        )
        for dimension, factor in one.units or _COUNT
        for other, other_factor in two.units or _COUNT
    )
    if one.units and two.units:
        return Verdict.SAME if fits else _unlike(one, two)
    if math.isclose(one.amount, two.amount, rel_tol=1e-9, abs_tol=1e-12):
        return Verdict.SAME
    return Verdict.OPEN if fits else _unlike(one, two)


def _unlike(one: Number, two: Number) -> Verdict:
    is_share, other_is = (("ratio" in dict(each.units)) for each in (one, two))
    return Verdict.DIFFERENT if is_share == other_is else Verdict.OPEN


def _relate_dates(one: Date, two: Date) -> Verdict:
    pairs = zip((one.year, one.month, one.day), (two.year, two.month, two.day), strict=True)
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    if any(a != b for a, b in both):
        return Verdict.DIFFERENT
    return Verdict.SAME if one == two and both else Verdict.OPEN


def _relate_periods(one: Period, two: Period) -> Verdict:
    if one.kind != two.kind:
        return Verdict.OPEN
    low, high = sorted((one.amount, two.amount))
    if one.kind != "decade":
        return _verdict(low == high)
    is_short = low < 100  # "the sixties"
    if low == high or (is_short and (high - low) % 100 == 0):
        return Verdict.SAME
    century = high if is_short else low  # "1800s" may be all of it
    is_in = century >= 100 and century % 100 == 0 and (is_short or high < century + 100)
    return Verdict.OPEN if is_in else Verdict.DIFFERENT


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
