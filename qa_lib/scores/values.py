"""The numbers and dates of a text, read from English words and digits.

read("nearly two thousand men in May 1990").values   # Number(2000), Date(1990, 5)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from qa_lib.scores import numerals

_TOKEN = re.compile(
    r"\d{4}-\d\d-\d\d(?!\d)|\d{1,2}/\d{1,2}/\d{4}|\d+/\d+"  # dates, fractions
    r"|\d{3,4}0'?s\b"  # decades
    r"|(?:(?<![^\s(])-)?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:(?<![^\s(])-)?\d*\.?\d+"
    r"|(?:us|US)\$|[$€£¥%½¼¾]|°\s?[CFcf]\b|[^\W\d_](?:[\w'.]*[\w])?",
)
_MAY_HOLD_VALUES = re.compile(
    r"\d|[½¼¾]|\b[IVXL]+\b|\b(?:"
    + "|".join(
        sorted(
            numerals.NUMBERS.keys()
            | numerals.ORDINALS.keys()
            | numerals.SCALES.keys()
            | numerals.FRACTIONS.keys()
            | numerals.DECADES.keys()
            | numerals.MONTHS.keys()
            | numerals.WEEKDAYS.keys()
        )
    )
    + r")\b",
    re.IGNORECASE,
)
_ROMAN = re.compile(r"(XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50}
_VULGAR = {"½": 0.5, "¼": 0.25, "¾": 0.75}


@dataclass(frozen=True)
class Number:
    """A number with the meanings of its unit, (dimension, factor) each; without one, none.

    Ordinals are numbers too: "third" is "3".
    """

    amount: float
    units: tuple[tuple[str, float], ...] = ()


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


Value = Number | Date | Period


@dataclass
class Reading:
    """The values of a text in order, its other words, and the text with values in digits."""

    values: list[Value] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)


def plain(text: str) -> str:
    """Return a text with its values written in one way, for an encoder to compare the rest."""
    return " ".join(read(text).plain)


@lru_cache(maxsize=100_000)
def read(text: str) -> Reading:
    """Find the numbers and dates of a text."""
    reading = Reading()
    if not _MAY_HOLD_VALUES.search(text):
        reading.words = reading.plain = text.split()
        return reading
    text = re.sub(r"[‐-―−]", "-", text.replace("’", "'").replace("\xa0", " "))
    text = re.sub(r"\bper cent\b", "percent", text)
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", " th", text)  # "1st" to a number and its sign
    tokens = [
        token.replace(".", "") if token[0].isalpha() else token for token in _TOKEN.findall(text)
    ]
    position = 0
    while position < len(tokens):
        found = _value_at(tokens, position)
        if found is None:
            reading.words.append(tokens[position])
            reading.plain.append(tokens[position])
            position += 1
        else:
            value, position = found
            reading.values.append(value)
            reading.plain.append(_written(value))
    if not reading.values and (day := _named_day(reading.words)):
        reading.values, reading.words = [day], []
    return reading


def _value_at(tokens: Sequence[str], at: int) -> tuple[Value, int] | None:
    """Return the value that begins at a token, and where it ends."""
    return _date_at(tokens, at) or _period_at(tokens, at) or _quantity_at(tokens, at)


def _date_at(tokens: Sequence[str], at: int) -> tuple[Date, int] | None:
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
    found = _number_at(tokens, at)
    if found is None or not 1 <= found[0] <= 31 or found[0] % 1 or "." in tokens[at]:
        return None
    return int(found[0]), found[1]


def _named_day(words: Sequence[str]) -> Date | Period | None:
    """Return the weekday or month that is all that a text tells: "on Monday", "in May"."""
    beside = [word for word in (each.lower() for each in words) if word not in numerals.FILLERS]
    days = [word.lower() for word in words if word.lower() in numerals.WEEKDAYS]
    if len(days) == 1 and not beside:
        return Period("weekday", numerals.WEEKDAYS[days[0]])
    if len(beside) == 1 and not days and beside[0] in numerals.MONTHS:
        return Date(None, numerals.MONTHS[beside[0]])
    return None


def _year_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    if at < len(tokens) and re.fullmatch(r"\d{3,4}", tokens[at]):
        return int(tokens[at]), at + 1
    return None


def _period_at(tokens: Sequence[str], at: int) -> tuple[Period, int] | None:
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
    found = _number_at(tokens, at)
    if found and found[1] < len(tokens) and tokens[found[1]].lower() in ("century", "centuries"):
        end = found[1] + 1
        before = end < len(tokens) and tokens[end].lower() in numerals.BEFORE_CHRIST
        after = end < len(tokens) and tokens[end].lower() in numerals.AFTER_CHRIST
        number = int(found[0])
        return Period("century", -number if before else number), end + (before or after)
    return None


def _quantity_at(tokens: Sequence[str], at: int) -> tuple[Number, int] | None:
    """Read a number with its currency or unit, a fraction, or a name's Roman numeral."""
    currency = numerals.CURRENCIES.get(tokens[at].lower())
    begin = at + (currency is not None)
    found = _fraction_at(tokens, begin)
    if found:
        return Number(found[0], (("ratio", 1.0),)), found[1]
    found = _number_at(tokens, begin) or _roman_at(tokens, begin)
    if found is None:
        return None
    amount, end = found
    word = tokens[end].lower() if end < len(tokens) else ""
    if currency:
        if word in numerals.MONEY_SCALES:
            return Number(amount * numerals.MONEY_SCALES[word], ((currency, 1.0),)), end + 1
        end += word in numerals.UNITS and numerals.UNITS[word][-1][0] == currency
        return Number(amount, ((currency, 1.0),)), end
    if word in ("degree", "degrees") and end + 1 < len(tokens):
        word, end = tokens[end + 1].lower(), end + 1
    word = word.replace(" ", "")
    if word not in numerals.UNITS:
        return Number(amount), end
    if word in ("fahrenheit", "°f"):
        amount -= 32
    return Number(amount, numerals.UNITS[word]), end + 1


def _fraction_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read "half", "a third", "two thirds", "3/4"."""
    if at >= len(tokens):
        return None
    token = tokens[at].lower()
    if re.fullmatch(r"\d+/\d+", token):
        above, below = map(int, token.split("/"))
        return (above / below, at + 1) if below else None
    following = tokens[at + 1].lower() if at + 1 < len(tokens) else ""
    beyond = tokens[at + 2].lower() if at + 2 < len(tokens) else ""
    if token == "half" and following not in ("a", "one", *numerals.SCALES):
        return 0.5, at + 1
    if token in ("a", "one") and following in numerals.FRACTIONS and beyond in ("", "of"):
        return 1 / numerals.FRACTIONS[following], at + 2
    above = numerals.NUMBERS.get(token) or (int(token) if token.isdecimal() else 0)
    if above and following in numerals.FRACTIONS and following.endswith("s"):
        return above / numerals.FRACTIONS[following], at + 2
    return None


def _number_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read a cardinal or ordinal number, in digits or words, with its scales."""
    if at >= len(tokens):
        return None
    token = tokens[at].lower()
    if token[-1].isdecimal() and re.fullmatch(r"-?[\d,]*\.?\d+", token):
        amount, end = float(token.replace(",", "")), at + 1
        if end < len(tokens) and tokens[end] in _VULGAR:
            amount, end = amount + _VULGAR[tokens[end]], end + 1
        if end < len(tokens) and tokens[end] == "th":
            return amount, end + 1
    elif token in _VULGAR:
        amount, end = _VULGAR[token], at + 1
    else:
        return _worded_at(tokens, at)
    while end < len(tokens) and tokens[end].lower() in numerals.SCALES:
        amount, end = amount * numerals.SCALES[tokens[end].lower()], end + 1
    return amount, end


def _worded_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read "two hundred and five", "half a million", "nineteen eighty-four", "twenty-first"."""
    words = [token.lower() for token in tokens[at : at + 12]]
    total, current, end = 0.0, None, 0
    if words[0] == "half":
        current, end = 0.5, 1 + (words[1:2] in (["a"], ["one"]))
    elif words[0] in ("a", "an") and words[1:2] and words[1] in numerals.SCALES:
        current, end = 1.0, 1
    elif at and tokens[at - 1].lower() == "no" and words[0] == "one":
        return None
    while end < len(words):
        word = words[end]
        if word in numerals.NUMBERS:
            value = numerals.NUMBERS[word]
            if current is None:
                current = value
            elif 13 <= current <= 20 and 10 <= value < 100:  # a year
                current = 100 * current + value
            elif value < 10 and 20 <= current and current % 10 == 0:
                current += value
            elif current % 100 == 0 and current >= 100 and value < 100:
                current += value
            else:
                break
        elif word in numerals.ORDINALS and (current is None or current % 10 == 0):
            return total + (current or 0) + numerals.ORDINALS[word], at + end + 1
        elif word in numerals.SCALES and current is not None:
            scale = numerals.SCALES[word]
            if scale >= 1000:
                total, current = total + current * scale, 0.0
            else:
                current *= scale
        elif word == "and" and words[end + 1 : end + 2] and words[end + 1] in numerals.NUMBERS:
            if not current and not total or (current or 0) % 100:
                break
        elif words[end : end + 3] == ["and", "a", "half"] and current is not None:
            return total + current + 0.5, at + end + 3
        else:
            break
        end += 1
    return None if current is None else (total + current, at + end)


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


def _written(value: Value) -> str:
    if isinstance(value, Number):
        return f"{value.amount:.12g}" + (f" {value.units[0][0]}" if value.units else "")
    if isinstance(value, Period):
        return f"{value.amount} {value.kind}"
    return "-".join(str(part) for part in (value.year, value.month, value.day) if part is not None)
