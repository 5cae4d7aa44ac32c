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
_OTHER_UNIT_TOLERANCE = 0.01  # "100 miles" is written "160 km"
_MOST_EXTRA_WORDS = 2


class Verdict(enum.Enum):
    """What values say of two texts."""

    SAME = "same"
    DIFFERENT = "different"
    OPEN = "open"


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


# -- reading


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
    month_of = numerals.MONTHS.get
    if month := month_of(token.lower()):
        day_end = _day_at(tokens, at + 1)
        if day_end:
            year_end = _year_at(tokens, day_end[1])
            return Date(year_end[0] if year_end else None, month, day_end[0]), (
                year_end or day_end
            )[1]
        if year_end := _year_at(tokens, at + 1):
            return Date(year_end[0], month), year_end[1]
        return None
    if day_end := _day_at(tokens, at):
        day, end = day_end
        end += end < len(tokens) and tokens[end].lower() == "of"
        if end < len(tokens) and (month := month_of(tokens[end].lower())):
            year_end = _year_at(tokens, end + 1)
            return Date(year_end[0] if year_end else None, month, day), (
                year_end[1] if year_end else end + 1
            )
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


# -- comparing


def _relate(one: Value, two: Value) -> Verdict:
    """Compare two values; OPEN where one is less precise, or another kind of thing."""
    if isinstance(one, Number) and isinstance(two, Number):
        return Verdict.SAME if _equal_numbers(one, two) else Verdict.DIFFERENT
    first, second = (
        Date(int(each.amount)) if isinstance(each, Number) and _is_year(each) else each
        for each in (one, two)
    )
    if isinstance(first, Date) and isinstance(second, Date):
        told = ((a, b) for a, b in zip(_parts(first), _parts(second), strict=True))
        if any(None not in pair and pair[0] != pair[1] for pair in told):
            return Verdict.DIFFERENT
        shares = any(
            a is not None and b is not None
            for a, b in zip(_parts(first), _parts(second), strict=True)
        )
        return Verdict.SAME if first == second and shares else Verdict.OPEN
    if isinstance(first, Period) and isinstance(second, Period):
        if first.kind != second.kind:
            return Verdict.OPEN
        few = min(first.amount, second.amount)
        equal = first.amount == second.amount or (
            first.kind == "decade" and few < 100 and (first.amount - second.amount) % 100 == 0
        )
        return Verdict.SAME if equal else Verdict.DIFFERENT
    period, date = (first, second) if isinstance(first, Period) else (second, first)
    if isinstance(period, Period) and isinstance(date, Date) and date.year is not None:
        return Verdict.OPEN if _within(date.year, period) else Verdict.DIFFERENT
    return Verdict.OPEN


def _equal_numbers(one: Number, two: Number) -> bool:
    if not one.units or not two.units:
        return math.isclose(one.amount, two.amount, rel_tol=1e-9, abs_tol=1e-12)
    for dimension, factor in one.units:
        for other, other_factor in two.units:
            tolerance = 1e-9 if factor == other_factor else _OTHER_UNIT_TOLERANCE
            pair = one.amount * factor, two.amount * other_factor
            if dimension == other and math.isclose(*pair, rel_tol=tolerance):
                return True
    return False


def _is_year(number: Number) -> bool:
    return not number.units and number.amount % 1 == 0 and 1 <= number.amount <= 2999


def _parts(date: Date) -> tuple[int | None, int | None, int | None]:
    return date.year, date.month, date.day


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
