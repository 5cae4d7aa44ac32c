"""The numbers and dates of a text, read from English words and digits.

read("nearly two thousand men in May 1990").values   # Number(2000), Date(1990, 5)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from qa_lib.evaluation.values import numerals
from qa_lib.evaluation.values.dates import (
    Clock,
    Date,
    Period,
    clock_at,
    date_at,
    named_day,
    period_at,
)
from qa_lib.evaluation.values.quantities import Number, quantity_at

_TOKEN = re.compile(
    r"\d{4}-\d\d-\d\d(?!\d)|\d{1,2}/\d{1,2}/\d{4}|\d+/\d+"  # dates, fractions
    r"|\d{1,3}0'?s\b"  # decades
    r"|\d{1,2}:\d\d\b|km/h|m/s"
    r"|(?:(?<![^\s(])-)?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:(?<![^\s(])-)?\d*\.?\d+"
    r"|(?:us|US)\$|[$€£¥%½¼¾]|°\s?[CFcf]\b|[^\W\d_](?:[\w'.]*[\w])?",
)
_YEARS = re.compile(r"\b(1\d|20)(\d\d)[-/](1\d|20)?(\d\d)\b(?![-/\d])")
_SPACED = re.compile(r"(?<![\d.,])\b\d{1,3}(?: \d{3})+\b(?!,\d)")
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
Value = Number | Date | Period | Clock


@dataclass(frozen=True)
class Reading:
    """The values of a text in order, its other words, and the text with values in digits."""

    values: tuple[Value, ...]
    words: tuple[str, ...]
    plain: tuple[str, ...]


def plain(text: str) -> str:
    """Return a text with its values written in one way, for an encoder to compare the rest."""
    return " ".join(read(text).plain)


@lru_cache(maxsize=100_000)
def read(text: str) -> Reading:
    """Find the numbers and dates of a text."""
    if not _MAY_HOLD_VALUES.search(text):
        return Reading((), tuple(text.split()), tuple(text.split()))
    tokens = _tokens(text)
    values: list[Value] = []
    words, written = [], []
    position = 0
    while position < len(tokens):
        found = _value_at(tokens, position)
        if found is None:
            words.append(tokens[position])
            written.append(tokens[position])
            position += 1
        else:
            value, position = found
            values.append(value)
            written.append(_written(value))
    if not values and (day := named_day(words)):
        values, words = [day], []
    return Reading(tuple(values), tuple(words), tuple(written))


def _tokens(text: str) -> list[str]:
    """Cut a text into words, numbers and signs, written in one way."""
    text = re.sub(r"[\xa0\u2009\u202f]", " ", text.replace("’", "'"))
    text = re.sub(r"[‐-―−]", "-", text)
    text = re.sub(r"\bper cent\b", "percent", text)
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", " th", text)  # "1st" to a number and its sign
    text = re.sub(r"(?<=\d)[kK]\b", " thousand", text)
    text = re.sub(r"(?<=\d) ?bn\b", " billion", text)
    text = _YEARS.sub(_whole_years, text)
    text = _SPACED.sub(lambda found: found[0].replace(" ", ","), text)
    return [
        token.replace(".", "") if token[0].isalpha() else token for token in _TOKEN.findall(text)
    ]


def _whole_years(found: re.Match[str]) -> str:
    """Write "1914-18" and "1914/1918" as "1914-1918"."""
    century, first, last = found[1], found[2], found[4]
    if found[3] is None and first >= last:
        return found[0]
    return f"{century}{first}-{found[3] or century}{last}"


def _value_at(tokens: Sequence[str], at: int) -> tuple[Value, int] | None:
    """Return the value that begins at a token, and where it ends."""
    for read_at in (date_at, period_at, clock_at, quantity_at):
        if found := read_at(tokens, at):
            return found
    return None


def _written(value: Value) -> str:
    if isinstance(value, Number):
        return f"{value.amount:.12g}" + (f" {value.units[0][0]}" if value.units else "")
    if isinstance(value, Clock):
        return f"{value.minutes // 60 or 12}:{value.minutes % 60:02} {value.half or ''}".strip()
    if isinstance(value, Period):
        return f"{value.amount} {value.kind}"
    return "-".join(str(part) for part in (value.year, value.month, value.day) if part is not None)
