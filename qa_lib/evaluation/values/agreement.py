"""Numbers and dates compared by value, where sentence embeddings cannot.

"1,000" and "one thousand" are the same, "1990" and "1991" are not, and an encoder sees it the other
way round. Only what is surely the same or surely different is decided here.

    agree("$2.5 million", "2,500,000 dollars")   # Verdict.SAME
    agree("5 May 1990", "May 6, 1990")           # Verdict.DIFFERENT
    agree("in May 1990", "5 May 1990")           # Verdict.OPEN: less precise, not wrong
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

from qa_lib.evaluation.values import numerals
from qa_lib.evaluation.values.dates import Clock, Date, Period
from qa_lib.evaluation.values.quantities import Number
from qa_lib.evaluation.values.reading import Value, read

_CONVERTED, _ROUNDED = 0.01, 0.05  # "100 miles" is written "160 km", "100 feet" may be "30 m"
_MOST_EXTRA_WORDS = 2


class Verdict(enum.Enum):
    """What values say of two texts."""

    SAME = "same"
    DIFFERENT = "different"
    OPEN = "open"


def agree(first: str, second: str) -> Verdict:
    """Compare the numbers and dates of two texts.

    Returns:
        DIFFERENT where a value of the text with fewer of them contradicts all of the other's; SAME
        where all values are equal, in order, and the words beside them are the same or no more
        than what was counted; else OPEN.
    """
    one, two = read(first), read(second)
    if not one.values or not two.values:
        return Verdict.OPEN
    if _contradict(one.values, two.values) or _opposed(one.words, two.words):
        return Verdict.DIFFERENT
    if not same_values(first, second):
        return Verdict.OPEN
    told = sorted((_telling(one.words), _telling(two.words)), key=len)
    if [word.lower() for word in told[0]] == [word.lower() for word in told[1]]:
        return Verdict.SAME
    extra = told[1]
    is_counted = len(extra) <= _MOST_EXTRA_WORDS and all(word.islower() for word in extra)
    if not told[0] and is_counted and not numerals.DIRECTIONS.keys() & set(extra):
        return Verdict.SAME
    return Verdict.OPEN


def same_values(first: str, second: str) -> bool:
    """Say whether two texts hold equal values, at least one, in the same order."""
    one, two = read(first).values, read(second).values
    return 0 < len(one) == len(two) and all(
        _relate(a, b) is Verdict.SAME for a, b in zip(one, two, strict=True)
    )


def _relate(one: Value, two: Value) -> Verdict:
    """Compare two values; OPEN where one is less precise, or another kind of thing."""
    if isinstance(one, Number) and isinstance(two, Number):
        return _relate_numbers(one, two)
    if isinstance(one, Clock) and isinstance(two, Clock):
        return _relate_clocks(one, two)
    first, second = _as_year(one), _as_year(two)
    if isinstance(first, Date) and isinstance(second, Date):
        return _relate_dates(first, second)
    if isinstance(first, Period) and isinstance(second, Period):
        return _relate_periods(first, second)
    period, other = (first, second) if isinstance(first, Period) else (second, first)
    if not isinstance(period, Period) or period.kind == "weekday":
        return Verdict.OPEN
    if isinstance(other, Date) and other.year is not None:
        return Verdict.OPEN if _within(other.year, period) else Verdict.DIFFERENT
    # "the 11th" is the 11th century; "the sixties" are not 60.
    if isinstance(other, Number) and not other.units and period.kind == "century":
        if other.amount == -period.amount:  # and may be before Christ
            return Verdict.OPEN
        return Verdict.SAME if other.amount == period.amount else Verdict.DIFFERENT
    return Verdict.OPEN


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
    return Verdict.SAME if not distance or (is_short and distance % 100 == 0) else Verdict.DIFFERENT


def _as_year(value: Value) -> Value:
    """Take a bare number for a year where it can be one; below 100 it needs its era."""
    if isinstance(value, Number) and not value.units:
        if 100 <= value.amount < 3000 and value.amount == int(value.amount):
            return Date(int(value.amount))
    return value


def _relate_numbers(one: Number, two: Number) -> Verdict:
    """Compare two numbers; OPEN where a bare one may have been written in the other's base unit."""
    if one.units and two.units:
        return _relate_measures(one, two)
    bare, other = (two, one) if one.units else (one, two)
    if bare.is_ordinal and other.units:  # "second" is no two seconds
        return Verdict.OPEN
    if math.isclose(bare.amount, other.amount, rel_tol=1e-9, abs_tol=1e-12):
        return Verdict.SAME
    in_base = (other.amount * factor for _, factor in other.units)  # "0.5" and "50%"
    is_base = any(math.isclose(bare.amount, each, rel_tol=1e-9) for each in in_base)
    return Verdict.OPEN if is_base else Verdict.DIFFERENT


def _relate_measures(one: Number, two: Number) -> Verdict:
    """Compare two numbers with units; OPEN where a conversion may have been rounded coarsely."""
    verdict = Verdict.DIFFERENT
    for dimension, factor in one.units:
        for other, other_factor in two.units:
            if dimension != other:
                continue
            near = 1e-9 if factor == other_factor else _CONVERTED
            pair = one.amount * factor, two.amount * other_factor
            if math.isclose(*pair, rel_tol=near):
                return Verdict.SAME
            if factor == other_factor and (one.rough == two.amount or two.rough == one.amount):
                verdict = Verdict.OPEN  # less precise, not wrong
            if factor != other_factor and math.isclose(*pair, rel_tol=_ROUNDED):
                verdict = Verdict.OPEN
    return verdict


def _relate_clocks(one: Clock, two: Clock) -> Verdict:
    if one.minutes != two.minutes:
        return Verdict.DIFFERENT
    if one.half == two.half:
        return Verdict.SAME
    return Verdict.DIFFERENT if one.half and two.half else Verdict.OPEN


def _within(year: int, period: Period) -> bool:
    if period.kind == "decade":
        span = 100 if period.amount >= 100 and period.amount % 100 == 0 else 10
        first = period.amount if period.amount >= 100 else year - year % 100 + period.amount
        return first <= year < first + span
    century = math.ceil(abs(year) / 100)
    return (century if year > 0 else -century) == period.amount


def _contradict(one: Sequence[Value], two: Sequence[Value]) -> bool:
    """Say whether some value of the shorter list finds none of the other's that it can be."""
    few, many = sorted((list(one), list(two)), key=len)
    for value in few:
        fitting = [other for other in many if _relate(value, other) is Verdict.SAME]
        fitting = fitting or [other for other in many if _relate(value, other) is Verdict.OPEN]
        if not fitting:
            return True
        many.remove(fitting[0])
    return False


def _opposed(one: Sequence[str], two: Sequence[str]) -> bool:
    """Say whether one text says "before" or "less" where the other says "after" or "more"."""
    signs = [
        {numerals.DIRECTIONS.get(word.lower(), 0) for word in words} - {0} for words in (one, two)
    ]
    return all(len(each) == 1 for each in signs) and signs[0] != signs[1]


def _telling(words: Sequence[str]) -> list[str]:
    return [word for word in words if word.lower() not in numerals.FILLERS]
