"""Dates, periods and clock times, read from the tokens of an English text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qa_lib.evaluation.values import numerals
from qa_lib.evaluation.values.quantities import number_at


@dataclass(frozen=True)
class Date:
    """A date, as far as it is told; years before Christ are negative."""

    year: int | None
    month: int | None = None
    day: int | None = None


@dataclass(frozen=True)
class Period:
    """A century (negative before Christ), a decade (its first year, or 0 to 90), or a weekday."""

    kind: str
    amount: int


@dataclass(frozen=True)
class Clock:
    """A time of day: minutes since noon or midnight, and of which: "am", "pm", or not told."""

    minutes: int
    half: str | None


def date_at(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read a date, and where it ends: "5 May 1990", "May 1990", "1990-05-05", "500 BC"."""
    token = tokens[at]
    if re.fullmatch(r"\d{4}-\d\d-\d\d", token):
        year, month, day = map(int, token.split("-"))
        return Date(year, month, day), at + 1
    if token.count("/") == 2:
        month, day, year = map(int, token.split("/"))  # as written in America
        return Date(year, *((month, day) if month <= 12 else (day, month))), at + 1
    return _month_first(tokens, at) or _day_first(tokens, at) or _year_with_era(tokens, at)


def _month_first(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "May 5, 1990", "May 5", "May 1990"."""
    month = numerals.MONTHS.get(tokens[at].lower())
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
    end += end < len(tokens) and tokens[end].lower() == "of"
    month = numerals.MONTHS.get(tokens[end].lower()) if end < len(tokens) else None
    if month is None:
        return None
    year, end = _year_at(tokens, end + 1) or (None, end + 1)
    return Date(year, month, day), end


def _year_with_era(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "AD 500", "500 BC"."""
    token = tokens[at]
    era = token.lower()
    if era in numerals.AFTER_CHRIST and (year_end := _year_at(tokens, at + 1)):
        return Date(year_end[0]), year_end[1]
    if re.fullmatch(r"\d{1,3}(,\d{3})+|\d+", token) and at + 1 < len(tokens):
        era = tokens[at + 1].lower()
        if era in numerals.BEFORE_CHRIST | numerals.AFTER_CHRIST:
            year = int(token.replace(",", ""))
            return Date(-year if era in numerals.BEFORE_CHRIST else year), at + 2
    return None


def _day_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    found = number_at(tokens, at)
    if found is None or not 1 <= found[0] <= 31 or found[0] % 1 or "." in tokens[at]:
        return None
    return int(found[0]), found[1]


def _year_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    if at < len(tokens) and re.fullmatch(r"\d{3,4}", tokens[at]):
        return int(tokens[at]), at + 1
    return None


def period_at(tokens: Sequence[str], at: int) -> tuple[Period, int] | None:
    """Read a decade or a century, and where it ends: "1960s", "the sixties", "12th century"."""
    word = tokens[at].lower()
    if re.fullmatch(r"\d+'?s", word):
        return Period("decade", int(re.sub(r"\D", "", word))), at + 1
    if word in numerals.DECADES:
        return Period("decade", numerals.DECADES[word]), at + 1
    if word in numerals.NUMBERS and at + 1 < len(tokens):
        following = tokens[at + 1].lower()
        if following in numerals.DECADES:
            century = 100 * numerals.NUMBERS[word]
            return Period("decade", century + numerals.DECADES[following]), at + 2
    found = number_at(tokens, at)
    if found and found[1] < len(tokens) and tokens[found[1]].lower() in ("century", "centuries"):
        end = found[1] + 1
        before = end < len(tokens) and tokens[end].lower() in numerals.BEFORE_CHRIST
        after = end < len(tokens) and tokens[end].lower() in numerals.AFTER_CHRIST
        number = int(found[0])
        return Period("century", -number if before else number), end + (before or after)
    return None


def named_day(words: Sequence[str]) -> Date | Period | None:
    """Return the weekday or month that is all that a text tells: "on Monday", "in May"."""
    beside = [word for word in (each.lower() for each in words) if word not in numerals.FILLERS]
    days = [word.lower() for word in words if word.lower() in numerals.WEEKDAYS]
    if len(days) == 1 and not beside:
        return Period("weekday", numerals.WEEKDAYS[days[0]])
    if len(beside) == 1 and not days and beside[0] in numerals.MONTHS:
        return Date(None, numerals.MONTHS[beside[0]])
    return None


def clock_at(tokens: Sequence[str], at: int) -> tuple[Clock, int] | None:
    """Read "17:00", "5:30 pm", "five o'clock"."""
    found = re.fullmatch(r"(\d{1,2}):(\d\d)", tokens[at])
    if found:
        hour, minute, end = int(found[1]), int(found[2]), at + 1
    elif whole := number_at(tokens, at):
        hour, minute, end = int(whole[0]), 0, whole[1]
        if whole[0] != hour or not 1 <= hour <= 12:
            return None
    else:
        return None
    word = tokens[end].lower() if end < len(tokens) else ""
    if hour > 24 or minute > 59 or not (found or word in ("am", "pm", "o'clock")):
        return None
    end += word in ("am", "pm", "o'clock")
    half = word if word in ("am", "pm") else None
    if half is None and (hour > 12 or hour == 0):
        half = "pm" if 12 < hour < 24 else "am"
    return Clock(60 * (hour % 12) + minute, half), end
