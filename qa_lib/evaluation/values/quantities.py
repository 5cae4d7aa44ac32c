"""Numbers with their units, read from the tokens of an English text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qa_lib.evaluation.values import numerals

_ROMAN = re.compile(r"(XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50}
_VULGAR = {"½": 0.5, "¼": 0.25, "¾": 0.75}
_AND_A_PART: dict[tuple[str, ...], float] = {
    ("and", "a", "half"): 0.5,
    ("and", "a", "quarter"): 0.25,
}
_MOST_WORDS_OF_A_UNIT = 3
_MOST_IN = 100  # "one in five" is a share, "one in 1990" is not


@dataclass(frozen=True)
class Number:
    """A number with the meanings of its unit, (dimension, factor) each; without one, none.

    Ordinals are numbers too: "third" is "3", but never three of a unit. `rough` is what a shorter
    text would tell of a compound measure: 5 of "5 feet 10 inches".
    """

    amount: float
    units: tuple[tuple[str, float], ...] = ()
    is_ordinal: bool = False
    rough: float | None = None


def quantity_at(tokens: Sequence[str], at: int) -> tuple[Number, int] | None:
    """Read a number with its sign, currency or unit, a share, or a name's Roman numeral."""
    sign = -1 if tokens[at].lower() in ("minus", "negative") else 1
    begin = at + (sign < 0)
    currency = numerals.CURRENCIES.get(tokens[begin].lower()) if begin < len(tokens) else None
    begin += currency is not None
    share = _share_at(tokens, begin)
    if share:
        return Number(sign * share[0], (("ratio", 1.0),)), share[1]
    found = number_at(tokens, begin) or _roman_at(tokens, begin)
    if found is None:
        return None
    amount, end = sign * found[0], found[1]
    if currency:
        return _money(amount, currency, tokens, end)
    unit = _unit_at(tokens, end)
    if unit is None:
        last = tokens[end - 1].lower()
        return Number(amount, is_ordinal=last == "th" or last in numerals.ORDINALS), end
    units, end = unit
    if tokens[end - 1].lower().replace(" ", "") in ("fahrenheit", "°f"):
        amount -= 32
    return _compound(Number(amount, units), tokens, end)


def _money(amount: float, currency: str, tokens: Sequence[str], end: int) -> tuple[Number, int]:
    word = tokens[end].lower() if end < len(tokens) else ""
    if word in numerals.MONEY_SCALES:
        return Number(amount * numerals.MONEY_SCALES[word], ((currency, 1.0),)), end + 1
    end += word in numerals.UNITS and numerals.UNITS[word][-1][0] == currency
    return Number(amount, ((currency, 1.0),)), end


def _unit_at(tokens: Sequence[str], at: int) -> tuple[tuple[tuple[str, float], ...], int] | None:
    """Read a unit of up to three words, and where it ends: "miles per hour", "km"."""
    at += at + 1 < len(tokens) and tokens[at].lower() in ("degree", "degrees")
    for size in range(_MOST_WORDS_OF_A_UNIT, 0, -1):
        words = [token.lower().replace(" ", "") for token in tokens[at : at + size]]
        if len(words) == size and (units := numerals.UNITS.get(" ".join(words))):
            return units, at + size
    return None


def _compound(first: Number, tokens: Sequence[str], end: int) -> tuple[Number, int]:
    """Add what follows in a smaller unit of the same kind: "5 feet 10 inches", in the first's."""
    begin = end + (end < len(tokens) and tokens[end].lower() == "and")
    rest = number_at(tokens, begin)
    if rest is None:
        return first, end
    unit = _unit_at(tokens, rest[1])
    if unit is None and tokens[rest[1] : rest[1] + 1] == ["in"]:  # inches beside feet only
        unit = numerals.UNITS["inch"], rest[1] + 1
    for dimension, factor in first.units:
        for other, smaller in unit[0] if unit else ():
            if dimension == other and rest[0] * smaller < factor and dimension != "ratio":
                amount = first.amount + rest[0] * smaller / factor
                found = Number(amount, ((dimension, factor),), rough=first.amount)
                return found, unit[1] if unit else end
    return first, end


def _share_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read "half", "a third", "two thirds", "3/4", "one in five"."""
    if at >= len(tokens):
        return None
    token, following, beyond, last = (*(each.lower() for each in tokens[at : at + 4]), *[""] * 4)[
        :4
    ]
    if re.fullmatch(r"\d+/\d+", token):
        above, below = map(int, token.split("/"))
        return (above / below, at + 1) if below else None
    if token == "half" and following not in ("a", "one", *numerals.SCALES):
        return 0.5, at + 1
    if token in ("a", "one") and following in numerals.FRACTIONS and beyond in ("", "of"):
        return 1 / numerals.FRACTIONS[following], at + 2
    above = _simple(token)
    if above and following in numerals.FRACTIONS and following.endswith("s"):
        return above / numerals.FRACTIONS[following], at + 2
    is_out_of = (following, beyond) == ("out", "of")
    below = _simple(last if is_out_of else beyond) if is_out_of or following == "in" else 0
    if 0 < above < below <= _MOST_IN:
        return above / below, at + (4 if is_out_of else 3)
    return None


def _simple(token: str) -> int:
    """Return the number that a single token writes, 0 where it writes none."""
    return numerals.NUMBERS.get(token) or (int(token) if token.isdecimal() else 0)


def number_at(tokens: Sequence[str], at: int) -> tuple[float, int] | None:
    """Read a cardinal or ordinal number, in digits or words, with its scales."""
    if at >= len(tokens):
        return None
    token = tokens[at].lower()
    if token[-1].isdecimal() and re.fullmatch(r"-?[\d,]*\.?\d+", token):
        amount, end = float(token.replace(",", "")), at + 1
        if end < len(tokens) and tokens[end] in _VULGAR:
            amount, end = amount + _VULGAR[tokens[end]], end + 1
        elif end < len(tokens) and token.isdecimal() and re.fullmatch(r"\d/\d", tokens[end]):
            above, below = map(int, tokens[end].split("/"))  # "3 1/2"
            if above < below:
                amount, end = amount + above / below, end + 1
        if end < len(tokens) and tokens[end] == "th":
            return amount, end + 1
    elif token in _VULGAR:
        amount, end = _VULGAR[token], at + 1
    else:
        return _worded_at(tokens, at)
    part = _AND_A_PART.get(tuple(word.lower() for word in tokens[end : end + 3]), 0.0)
    amount, end = amount + part, end + (3 if part else 0)
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
    elif words[0] == "one" and (words[1:2] == ["of"] or (at and tokens[at - 1].lower() == "no")):
        return None  # "one of the best" counts nothing, nor does "no one"
    while end < len(words):
        word = words[end]
        if word in numerals.NUMBERS:
            joined = _joined(current, numerals.NUMBERS[word])
            if joined is None:
                break
            current = joined
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
        elif current is not None and tuple(words[end : end + 3]) in _AND_A_PART:
            current += _AND_A_PART[tuple(words[end : end + 3])]  # a scale may follow
            end += 2
        else:
            break
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
