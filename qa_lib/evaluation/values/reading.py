"""The numbers and dates of a text, read from English words and digits.

read("nearly two thousand men in May 1990").values   # Number(2000), Date(1990, 5)

The functions below `read` take one thing that begins at a token, and return it with the index of
the token after it, or None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from qa_lib.evaluation.values import words
from qa_lib.evaluation.values.numbers import Number, Unsure, amount_at, quantity_at
from qa_lib.evaluation.values.tokens import ATTACHED, cut, lower


@dataclass(frozen=True)
class Date:
    """A date, as far as the text says; years before Christ are negative."""

    year: int | None
    month: int | None = None
    day: int | None = None


@dataclass(frozen=True)
class Period:
    """A century (negative before Christ), a decade (its first year, or 0 to 90), or a weekday."""

    kind: str
    amount: int


Value = Number | Unsure | Date | Period


@dataclass(frozen=True)
class Reading:
    """The values of a text in order, its other words, and the text with values written one way."""

    values: tuple[Value, ...]
    words: tuple[str, ...]
    plain: str


@lru_cache(maxsize=100_000)
def read(text: str) -> Reading:
    """Find the numbers and dates of a text."""
    tokens = cut(text)
    values: list[Value] = []
    others, written = [], []
    position = 0
    while position < len(tokens):
        value_end = (
            _month_first(tokens, position)
            or _day_first(tokens, position)
            or _year_with_era(tokens, position)
            or _period_at(tokens, position)
            or quantity_at(tokens, position)
        )
        if value_end is None:
            others.append(tokens[position].lstrip(ATTACHED))
            written.append(others[-1])
            position += 1
        else:
            value, position = value_end
            values.append(value)
            written.append(_written(value))
    if not values and (day := _named_day(others)):
        values, others = [day], []
    return Reading(tuple(values), tuple(others), " ".join(written))


def _written(value: Value) -> str:
    if isinstance(value, Unsure):
        return _written(value.readings[0]) if value.readings else value.spelling
    if isinstance(value, Number):
        return f"{value.amount:.12g}" + (f" {value.units[0][0]}" if value.units else "")
    if isinstance(value, Period):
        return f"{value.amount} {value.kind}"
    return "-".join(str(part) for part in (value.year, value.month, value.day) if part is not None)


def _month_first(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "May 5, 1990", "May 5", "May 1990"."""
    month = words.MONTHS.get(lower(tokens, at))
    if month is None:
        return None
    if day_end := _day_at(tokens, at + 1):
        day, end = day_end
        year, end = _year_at(tokens, end) or (None, end)
        return Date(year, month, day), end
    if year_end := _year_at(tokens, at + 1):
        return Date(year_end[0], month), year_end[1]
    return None


def _day_first(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "5 May 1990", "the fifth of May"."""
    day_end = _day_at(tokens, at)
    if day_end is None:
        return None
    day, end = day_end
    end += lower(tokens, end) == "of"
    month = words.MONTHS.get(lower(tokens, end))
    if month is None:
        return None
    year, end = _year_at(tokens, end + 1) or (None, end + 1)
    return Date(year, month, day), end


def _year_with_era(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "AD 500", "500 BC"."""
    if lower(tokens, at) in words.AFTER_CHRIST and (year_end := _year_at(tokens, at + 1)):
        return Date(year_end[0]), year_end[1]
    era = lower(tokens, at + 1)
    if era in words.BEFORE_CHRIST | words.AFTER_CHRIST and re.fullmatch(r"[\d,]*\d", tokens[at]):
        year = int(tokens[at].replace(",", ""))
        return Date(-year if era in words.BEFORE_CHRIST else year), at + 2
    return None


def _day_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    day = amount_at(tokens, at)
    if day is None or not 1 <= day.amount <= 31 or day.amount % 1 or "." in tokens[at]:
        return None
    return int(day.amount), day.end


def _year_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    return (int(tokens[at]), at + 1) if re.fullmatch(r"\d{3,4}", lower(tokens, at)) else None


def _period_at(tokens: Sequence[str], at: int) -> tuple[Period, int] | None:
    """Read a decade or a century: "1960s", "the sixties", "12th century BC"."""
    word = lower(tokens, at)
    if re.fullmatch(r"\d+'?s", word):
        return Period("decade", int(re.sub(r"\D", "", word))), at + 1
    if word in words.DECADES:
        return Period("decade", words.DECADES[word]), at + 1
    number = amount_at(tokens, at)
    if number is None or lower(tokens, number.end) not in ("century", "centuries"):
        return None
    era = lower(tokens, number.end + 1)
    sign = -1 if era in words.BEFORE_CHRIST else 1
    has_era = era in words.BEFORE_CHRIST | words.AFTER_CHRIST
    return Period("century", sign * int(number.amount)), number.end + 1 + has_era


def _named_day(others: Sequence[str]) -> Date | Period | None:
    """Return the weekday or month that is all that a text says: "on Monday", "in May"."""
    small = [word.lower() for word in others]
    beside = [word for word in small if word not in words.FILLERS]
    days = [word for word in small if word in words.WEEKDAYS]
    if len(days) == 1 and not beside:
        return Period("weekday", words.WEEKDAYS[days[0]])
    if len(beside) == 1 and not days and beside[0] in words.MONTHS:
        return Date(None, words.MONTHS[beside[0]])
    return None
