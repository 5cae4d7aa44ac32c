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

_TOKEN = re.compile(
    r"\d{4}-\d\d-\d\d(?!\d)|\d{1,2}/\d{1,2}/\d{4}|\d{1,2}:\d\d\b"  # dates and times: left as words
    r"|\d+/\d+|\d{1,3}0'?s\b"  # fractions, decades
    r"|(?:(?<![^\s(])-)?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:(?<![^\s(])-)?\d*\.?\d+"
    r"|(?:us|US)\$|[$€£¥%]|[^\W\d_](?:[\w'.]*[\w])?",
)
_YEARS = re.compile(r"\b(1\d|20)(\d\d)[-/](1\d|20)?(\d\d)\b(?![-/\d])")
_ROMAN = re.compile(r"(XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50}
_MOST_WORDS_OF_A_NUMBER = 12


@dataclass(frozen=True)
class Number:
    """A number, cardinal or ordinal, with the meanings of its unit, (dimension, factor) each."""

    amount: float
    units: tuple[tuple[str, float], ...] = ()


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


Value = Number | Date | Period


@dataclass(frozen=True)
class Reading:
    """The values of a text in order, its other words, and the text with values written one way."""

    values: tuple[Value, ...]
    words: tuple[str, ...]
    plain: str


@lru_cache(maxsize=100_000)
def read(text: str) -> Reading:
    """Find the numbers and dates of a text."""
    tokens = _tokens(text)
    values: list[Value] = []
    others, written = [], []
    position = 0
    while position < len(tokens):
        value_end = (
            _month_first(tokens, position)
            or _day_first(tokens, position)
            or _year_with_era(tokens, position)
            or _period_at(tokens, position)
            or _quantity_at(tokens, position)
        )
        if value_end is None:
            others.append(tokens[position])
            written.append(tokens[position])
            position += 1
        else:
            value, position = value_end
            values.append(value)
            written.append(_written(value))
    if not values and (day := _named_day(others)):
        values, others = [day], []
    return Reading(tuple(values), tuple(others), " ".join(written))


def _tokens(text: str) -> list[str]:
    """Cut a text into words, numbers and signs, written in one way."""
    text = re.sub(r"[‐-―−]", "-", text.replace("’", "'"))
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", " th", text)  # "1st" to a number and its sign
    text = _YEARS.sub(_whole_years, text)
    return [
        token.replace(".", "") if token[0].isalpha() else token for token in _TOKEN.findall(text)
    ]


def _whole_years(match: re.Match[str]) -> str:
    """Write "1914-18" and "1914/1918" as "1914-1918"."""
    century, first, last = match[1], match[2], match[4]
    if match[3] is None and first >= last:
        return match[0]
    return f"{century}{first}-{match[3] or century}{last}"


def _written(value: Value) -> str:
    if isinstance(value, Number):
        return f"{value.amount:.12g}" + (f" {value.units[0][0]}" if value.units else "")
    if isinstance(value, Period):
        return f"{value.amount} {value.kind}"
    return "-".join(str(part) for part in (value.year, value.month, value.day) if part is not None)


def _lower(tokens: Sequence[str], at: int) -> str:
    """Return a token in lower case, the empty text after the last."""
    return tokens[at].lower() if at < len(tokens) else ""


def _month_first(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "May 5, 1990", "May 5", "May 1990"."""
    month = words.MONTHS.get(_lower(tokens, at))
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
    end += _lower(tokens, end) == "of"
    month = words.MONTHS.get(_lower(tokens, end))
    if month is None:
        return None
    year, end = _year_at(tokens, end + 1) or (None, end + 1)
    return Date(year, month, day), end


def _year_with_era(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
    """Read "AD 500", "500 BC"."""
    if _lower(tokens, at) in words.AFTER_CHRIST and (year_end := _year_at(tokens, at + 1)):
        return Date(year_end[0]), year_end[1]
    era = _lower(tokens, at + 1)
    if era in words.BEFORE_CHRIST | words.AFTER_CHRIST and re.fullmatch(r"[\d,]*\d", tokens[at]):
        year = int(tokens[at].replace(",", ""))
        return Date(-year if era in words.BEFORE_CHRIST else year), at + 2
    return None


def _day_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    number = _number_at(tokens, at)
    if number is None or not 1 <= number[0] <= 31 or number[0] % 1 or "." in tokens[at]:
        return None
    return int(number[0]), number[1]


def _year_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    return (int(tokens[at]), at + 1) if re.fullmatch(r"\d{3,4}", _lower(tokens, at)) else None


def _period_at(tokens: Sequence[str], at: int) -> tuple[Period, int] | None:
    """Read a decade or a century: "1960s", "the sixties", "12th century BC"."""
    word = _lower(tokens, at)
    if re.fullmatch(r"\d+'?s", word):
        return Period("decade", int(re.sub(r"\D", "", word))), at + 1
    if word in words.DECADES:
        return Period("decade", words.DECADES[word]), at + 1
    number = _number_at(tokens, at)
    if number is None or _lower(tokens, number[1]) not in ("century", "centuries"):
        return None
    era = _lower(tokens, number[1] + 1)
    sign = -1 if era in words.BEFORE_CHRIST else 1
    has_era = era in words.BEFORE_CHRIST | words.AFTER_CHRIST
    return Period("century", sign * int(number[0])), number[1] + 1 + has_era


def _named_day(others: Sequence[str]) -> Date | Period | None:
    """Return the weekday or month that is all that a text says: "on Monday", "in May"."""
    lower = [word.lower() for word in others]
    beside = [word for word in lower if word not in words.FILLERS]
    days = [word for word in lower if word in words.WEEKDAYS]
    if len(days) == 1 and not beside:
        return Period("weekday", words.WEEKDAYS[days[0]])
    if len(beside) == 1 and not days and beside[0] in words.MONTHS:
        return Date(None, words.MONTHS[beside[0]])
    return None


def _quantity_at(tokens: Sequence[str], at: int) -> tuple[Number, int] | None:
    """Read a number with its currency or unit, a share, or a name's Roman numeral."""
    currency = words.CURRENCIES.get(_lower(tokens, at))
    begin = at + (currency is not None)
    if share := _share_at(tokens, begin):
        return Number(share[0], (("ratio", 1.0),)), share[1]
    number = _number_at(tokens, begin) or _roman_at(tokens, begin)
    if number is None:
        return None
    amount, end = number
    if currency is not None:
        return Number(amount, ((currency, 1.0),)), end
    for size in (2, 1):  # "square miles", "km"
        unit = " ".join(token.lower() for token in tokens[end : end + size])
        if unit in words.UNITS:
            return Number(amount, words.UNITS[unit]), end + size
    return Number(amount), end


def _share_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read "half", "a third", "two thirds", "3/4"."""
    token, following = _lower(tokens, at), _lower(tokens, at + 1)
    if re.fullmatch(r"\d+/\d+", token):
        above, below = map(int, token.split("/"))
        return (above / below, at + 1) if below else None
    if token == "half":
        return 0.5, at + 1
    if following not in words.FRACTIONS:
        return None
    if token in ("a", "one") and _lower(tokens, at + 2) in ("", "of"):
        return 1 / words.FRACTIONS[following], at + 2
    count = words.NUMBERS.get(token) or (int(token) if token.isdecimal() else 0)
    return (count / words.FRACTIONS[following], at + 2) if count and following[-1] == "s" else None


def _number_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read a cardinal or ordinal number, in digits or words, with its scales."""
    token = _lower(tokens, at)
    if not re.fullmatch(r"-?[\d,]*\.?\d+", token):
        return _worded_at(tokens, at)
    amount, end = float(token.replace(",", "")), at + 1
    if _lower(tokens, end) == "th":
        return amount, end + 1
    while _lower(tokens, end) in words.SCALES:
        amount, end = amount * words.SCALES[_lower(tokens, end)], end + 1
    return amount, end


def _worded_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read "two hundred and five", "a million", "nineteen eighty-four", "twenty-first"."""
    some = [token.lower() for token in tokens[at : at + _MOST_WORDS_OF_A_NUMBER]]
    total, current, end = 0.0, None, 0
    if some[:1] in (["a"], ["an"]) and _lower(some, 1) in words.SCALES:
        current, end = 1.0, 1
    elif some[:2] == ["one", "of"]:
        return None  # "one of the best" counts nothing
    while end < len(some):
        word = some[end]
        if word in words.NUMBERS:
            joined = _joined(current, words.NUMBERS[word])
            if joined is None:
                break
            current = joined
        elif word in words.ORDINALS and (current is None or current % 10 == 0):
            return total + (current or 0) + words.ORDINALS[word], at + end + 1
        elif word in words.SCALES and current is not None:
            scale = words.SCALES[word]
            if scale >= 1000:
                total, current = total + current * scale, 0.0
            else:
                current *= scale
        elif word != "and" or _lower(some, end + 1) not in words.NUMBERS:
            break
        elif not (current or total) or (current or 0) % 100:
            break  # "five and six" are two numbers
        end += 1
    return None if current is None else (total + current, at + end)


def _joined(current: float | None, value: int) -> float | None:
    """Return what a number word makes of the number before it, or None where it begins another."""
    if current is None:
        return value
    if 13 <= current <= 20 and 10 <= value < 100:  # a year
        return 100 * current + value
    if value < 10 and 20 <= current and current % 10 == 0:
        return current + value
    if current % 100 == 0 and current >= 100 and value < 100:
        return current + value
    return None


def _roman_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read the Roman numeral of a name: "Louis XIV", "World War I", not the pronoun."""
    if at == 0 or at >= len(tokens) or not tokens[at - 1][0].isupper():
        return None
    token = tokens[at]
    if not _ROMAN.fullmatch(token) or (len(token) == 1 and at + 1 < len(tokens)):
        return None
    digits = [_ROMAN_DIGITS[letter] for letter in token]
    signed = (-a if a < b else a for a, b in zip(digits, [*digits[1:], 0], strict=True))
    return float(sum(signed)), at + 1
