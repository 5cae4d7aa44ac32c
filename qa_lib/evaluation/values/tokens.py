"""A text cut into words, numbers and signs, each written in one way."""

from __future__ import annotations

import re
from collections.abc import Sequence

ATTACHED = "·"  # before a letter that stood right behind digits: "25m" is not always "25 m"

_THIN = " \u00a0\u2009\u202f"  # spaces between thousands
_TOKEN = re.compile(
    r"\d{4}-\d\d-\d\d(?!\d)|\d{1,2}/\d{1,2}/\d{4}|\d{1,2}:\d\d\b"  # dates and times: left as words
    r"|\d+/\d+|\d{1,3}0'?s\b"  # fractions, decades
    r"|(?<!\w)'\d\d\b(?!')"  # a year without its century
    rf"|(?:(?<![^\s(])-)?(?:\d{{1,3}}(?:,\d{{1,3}})+(?!\d)(?:\.\d+)?"
    rf"|\d{{1,3}}(?:[{_THIN}]\d{{3}})+(?![.,/]?\d)|\d*\.?\d+)"
    r"|(?<=\d)-(?=[$€£¥]?\d)(?!\d+/)|(?<=\d )-(?= [$€£¥]?\d)"  # a range
    rf"|(?:us|US)\$|[$€£¥%×]|{ATTACHED}?[^\W\d_](?:[\w'.]*[\w])?",
)
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)")
_ODD_NUMBER = re.compile(rf"'\d\d|-?\d[\d,.{_THIN}]*")
_YEARS = re.compile(r"\b(1\d|20)(\d\d)[-/](1\d|20)?(\d\d)\b(?![-/\d])")
_REWRITTEN = [
    (re.compile(r"[‐-―−]"), "-"),
    (re.compile("’"), "'"),
    (re.compile("⁄"), "/"),
    (re.compile(r"(?<=\d)(?:st|nd|rd|th)\b"), " th"),  # "1st" to a number and its sign
    (re.compile(r"(?<=\w)/(?=(?:h|hr|hour|s|sec|second|min|minute|day|week|month|year|yr)\b)"),
     " per "),
    (re.compile(r"(?<=\d)( ?)([ckm]?m|mi|ft)[²2](?!\w)"), r" square \2"),
    (re.compile(r"(?<=\d)( ?)([ckm]?m|mi|ft)[³3](?!\w)"), r" cubic \2"),
    (re.compile(r"(?:°|degrees?) ?F(?:ahrenheit)?\b"), " fahrenheit"),
    (re.compile(r"\b(\d[\d.,]*)([kmbt])\b", re.IGNORECASE), rf"\1 {ATTACHED}\2"),
]  # fmt: skip


def cut(text: str) -> list[str]:
    """Cut a text into tokens; the hyphen of a range becomes "to"."""
    for pattern, written in _REWRITTEN:
        text = pattern.sub(written, text)
    return [
        "to" if token == "-" else token.replace(".", "") if token[0].isalpha() else token
        for token in _TOKEN.findall(_YEARS.sub(_whole_years, text))
    ]


def lower(tokens: Sequence[str], at: int) -> str:
    """Return a token in lower case, the empty text after the last."""
    return tokens[at].lower() if at < len(tokens) else ""


def number(token: str) -> float | None:
    """Return the number that digits say, or None where they are none that is surely read."""
    return float(token.replace(",", "")) if _NUMBER.fullmatch(token) else None


def is_odd_number(token: str) -> bool:
    """Say whether a token may be a number that is not surely read: "3,14", "10 000", "'95", "½"."""
    return is_sign(token) or (number(token) is None and bool(_ODD_NUMBER.fullmatch(token)))


def is_sign(token: str) -> bool:
    """Say whether a token is one sign for a number, or begins with one: "½", "²"."""
    return token[:1].isnumeric() and not token[0].isdecimal() and not token[0].isalpha()


def _whole_years(match: re.Match[str]) -> str:
    """Write "1914-18" and "1914/1918" as "1914-1918"."""
    century, first, last = match[1], match[2], match[4]
    if match[3] is None and first >= last:
        return match[0]
    return f"{century}{first}-{match[3] or century}{last}"
