"""Numbers with their scales and units, from tokens.

    quantity_at(cut("two thousand and five men"), 0)   # (Number(2005), 4)

The functions take one thing that begins at a token, and return it with the index of the token after
it, or None. A number is parts of falling scale, each of digits or of words below a thousand:

    number = part [scale ...] [["and"] number below the scale]
    part   = digits | year | [tens "hundred" ["and"]] [tens]
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qa_lib.evaluation.values import words
from qa_lib.evaluation.values.tokens import ATTACHED, is_odd_number, is_sign, lower, number

_ROMAN = re.compile(r"(XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50}

Units = tuple[tuple[str, float], ...]
_METRE: Units = (("length", 1.0),)


@dataclass(frozen=True)
class Number:
    """A number, cardinal or ordinal, with the meanings of its unit, (dimension, factor) each."""

    amount: float
    units: Units = ()


@dataclass(frozen=True)
class Unsure:
    """A number that may be any of its readings; without any, only its spelling is known."""

    readings: tuple[Number, ...]
    spelling: str = ""


class Amount(NamedTuple):
    """What a number says, the token after it, and its greatest scale.

    `apart` are the two numbers that it may be instead, as in "5 million (1990)".
    """

    amount: float
    end: int
    scale: float = 1.0
    is_ordinal: bool = False
    apart: tuple[float, ...] = ()


class _Quantity(NamedTuple):
    value: Number | Unsure
    end: int
    scale: float = 1.0


def quantity_at(tokens: Sequence[str], at: int) -> tuple[Number | Unsure, int] | None:
    """Read a number with its currency or unit, a share, or a name's Roman numeral.

    The first number of a range may be counted as the second is: "2 to 3 million", "5-10 km". And
    "5 feet 10 inches" may be a sum.
    """
    first = _alone_at(tokens, at)
    if first is None:
        return None
    value, end, scale = first
    if (sum_end := _sum_at(tokens, first)) is not None:
        return sum_end
    second = _alone_at(tokens, end + 1) if lower(tokens, end) in words.JOINERS else None
    if second is None or isinstance(value, Unsure):
        return value, end
    if isinstance(second.value, Unsure):
        return _unsure(tokens, at, end).value, end
    factor = second.scale if scale < second.scale else 1.0
    alike = Number(value.amount * factor, value.units or second.value.units)
    return (value if alike == value else Unsure((alike, value))), end


def _sum_at(tokens: Sequence[str], first: _Quantity) -> tuple[Unsure, int] | None:
    """Read what a smaller unit adds to a quantity: "2 hours and 30 minutes", "7 miles (11 km)"."""
    rest = _alone_at(tokens, first.end + (lower(tokens, first.end) == "and"))
    if rest is None or not (isinstance(first.value, Number) and isinstance(rest.value, Number)):
        return None
    for dimension, factor in first.value.units:
        smaller = dict(rest.value.units).get(dimension, factor)
        if smaller < factor:
            total = first.value.amount * factor + rest.value.amount * smaller
            whole = Number(total, ((dimension, 1.0),))
            return Unsure((whole, first.value, rest.value)), rest.end
    return None


def amount_at(tokens: Sequence[str], at: int, below: float = math.inf) -> Amount | None:
    """Read a cardinal or ordinal number less than `below`, in digits or words."""
    part = _part_at(tokens, at)
    if part is None:
        return None
    amount, end, scale, is_ordinal, _ = part
    while not is_ordinal and lower(tokens, end) in words.SCALES:
        factor = words.SCALES[lower(tokens, end)]
        amount, end, scale = amount * factor, end + 1, max(scale, factor)
    if amount >= below:
        return None
    if scale >= 100 and lower(tokens, end - 1) in words.SCALES:
        has_and = lower(tokens, end) == "and"
        rest = amount_at(tokens, end + has_and, scale)
        if rest is not None:
            is_sure = number(tokens[end + has_and]) is None and not (has_and and rest.amount >= 100)
            apart = tuple(amount + each for each in rest.apart)
            apart = apart if is_sure else (amount, rest.amount)
            return Amount(amount + rest.amount, rest.end, scale, rest.is_ordinal, apart)
    return Amount(amount, end, scale, is_ordinal)


def _part_at(tokens: Sequence[str], at: int) -> Amount | None:
    """Read digits, a year, or what is below a thousand: "two hundred and five", "a" of "a million".

    "fifteen hundred" counts as such, and "one of the best" as nothing.
    """
    word, following = lower(tokens, at), lower(tokens, at + 1)
    if (digits := number(word)) is not None:
        is_ordinal = following == "th"
        return Amount(digits, at + 1 + is_ordinal, is_ordinal=is_ordinal)
    has_article = word in ("a", "an") and following in words.SCALES
    part = Amount(1.0, at + 1) if has_article else _tens_at(tokens, at)
    if part is None or (word, following) == ("one", "of"):
        return None
    rest = None if part.is_ordinal else _tens_at(tokens, part.end)
    if rest is not None and 13 <= part.amount <= 20 and rest.amount >= 10 and not rest.is_ordinal:
        return rest._replace(amount=100 * part.amount + rest.amount)
    if part.is_ordinal or lower(tokens, part.end) != "hundred":
        return part
    hundreds = Amount(100 * part.amount, part.end + 1, 100.0)
    rest = _tens_at(tokens, hundreds.end + (lower(tokens, hundreds.end) == "and"))
    return rest._replace(amount=hundreds.amount + rest.amount, scale=100.0) if rest else hundreds


def _tens_at(tokens: Sequence[str], at: int) -> Amount | None:
    """Read "five", "twenty-five", "twenty-fifth", "hundredth"."""
    word, following = lower(tokens, at), lower(tokens, at + 1)
    if word in words.ORDINALS:
        return Amount(words.ORDINALS[word], at + 1, is_ordinal=True)
    tens = words.NUMBERS.get(word)
    if tens is None:
        return None
    ones = words.NUMBERS.get(following) or words.ORDINALS.get(following, 0)
    if tens >= 20 and 0 < ones < 10:
        return Amount(tens + ones, at + 2, is_ordinal=following in words.ORDINALS)
    return Amount(tens, at + 1)


def _alone_at(tokens: Sequence[str], at: int) -> _Quantity | None:
    """Read a quantity as if it were no end of a range."""
    token = lower(tokens, at)
    if is_odd_number(token):
        return _unsure(tokens, at, at + 1)
    if token == "minus" and amount_at(tokens, at + 1) is not None:
        return _unsure(tokens, at, at + 2)
    sign = words.CURRENCIES.get(token)
    begin = at + (sign is not None)
    found = _share_at(tokens, begin) or amount_at(tokens, begin) or _roman_at(tokens, begin)
    if not isinstance(found, Amount):
        return found
    letter = lower(tokens, found.end)
    if letter.lstrip(ATTACHED) in words.LETTERS:
        if sign is not None or _is_money(_unit_at(tokens, found.end + 1)):
            factor = words.LETTERS[letter.lstrip(ATTACHED)]
            found = found._replace(amount=found.amount * factor, end=found.end + 1, scale=factor)
        elif letter == f"{ATTACHED}m":
            metres, millions = Number(found.amount, _METRE), Number(found.amount * 1e6)
            return _Quantity(Unsure((metres, millions)), found.end + 1)
        elif letter != "m":
            return _unsure(tokens, at, found.end + 1)
    return _measured(tokens, at, found, sign)


def _measured(tokens: Sequence[str], at: int, found: Amount, sign: str | None) -> _Quantity:
    """Give a number that begins at a token its currency, or the unit behind it."""
    units, end = (((sign, 1.0),), found.end) if sign else _unit_at(tokens, found.end)
    unread_end = _unread_end(tokens, end, is_rate=bool(units) and not _is_money((units, end)))
    if unread_end > end:
        return _unsure(tokens, at, unread_end)
    numbers = tuple(Number(each, units) for each in (found.amount, *found.apart))
    return _Quantity(Unsure(numbers) if found.apart else numbers[0], end, found.scale)


def _unit_at(tokens: Sequence[str], at: int) -> tuple[Units, int]:
    """Read "square miles", "km"; no meaning where there is no unit."""
    for size in (2, 1):
        unit = " ".join(token.lower() for token in tokens[at : at + size])
        if unit in words.UNITS:
            return words.UNITS[unit], at + size
    return (), at


def _is_money(unit: tuple[Units, int]) -> bool:
    return any(dimension in words.CURRENCIES.values() for dimension, _ in unit[0])


def _unread_end(tokens: Sequence[str], end: int, *, is_rate: bool) -> int:
    """Return the end of what changes the number before it in a way that is not read, or `end`."""
    word = lower(tokens, end)
    if word in words.UNREAD or is_sign(word) or re.fullmatch(r"\d+/\d+", word):
        return end + 1
    if word == "per" and is_rate:
        return end + 2
    if word == "and" and (share := _share_at(tokens, end + 1)) is not None:
        return share.end
    if lower(tokens, end - 1) in words.NUMBERS:
        while lower(tokens, end) in words.NUMBERS | words.ORDINALS | {"oh": 0}:
            end += 1  # "nineteen oh five", "two three thousand"
    return end


def _unsure(tokens: Sequence[str], at: int, end: int) -> _Quantity:
    """Take all that belongs to a number of which only the spelling is known."""
    while lower(tokens, end) in words.SCALES:
        end += 1
    _, end = _unit_at(tokens, end)
    return _Quantity(Unsure((), " ".join(tokens[at:end]).lower()), end)


def _share_at(tokens: Sequence[str], at: int) -> _Quantity | None:
    """Read "half", "a third", "two thirds", "3/4"; "a third" of what is not said may be a rank."""
    token, following = lower(tokens, at), lower(tokens, at + 1)
    if re.fullmatch(r"\d+/\d+", token):
        above, below = map(int, token.split("/"))
        return _Quantity(_share(above, below), at + 1) if below else None
    if token == "half":
        if following in words.SCALES or following in words.UNITS:
            return _unsure(tokens, at, at + 1)
        if following in ("a", "an"):
            return _unsure(tokens, at, at + 2)
        return _Quantity(_share(1, 2), at + 1)
    if following not in words.FRACTIONS:
        return None
    below = words.FRACTIONS[following]
    if token in ("a", "one"):
        is_sure = following not in words.ORDINALS or lower(tokens, at + 2) in words.BEHIND_A_SHARE
        share = _share(1, below)
        return _Quantity(share if is_sure else Unsure((share, Number(below))), at + 2)
    count = words.NUMBERS.get(token) or (int(token) if token.isdecimal() else 0)
    return _Quantity(_share(count, below), at + 2) if count and following[-1] == "s" else None


def _share(above: int, below: int) -> Number:
    return Number(above / below, (("ratio", 1.0),))


def _roman_at(tokens: Sequence[str], at: int) -> Amount | None:
    """Read the Roman numeral of a name: "Louis XIV", "World War I", not the pronoun."""
    if at == 0 or at >= len(tokens) or not tokens[at - 1][0].isupper():
        return None
    token = tokens[at]
    if not _ROMAN.fullmatch(token) or (len(token) == 1 and at + 1 < len(tokens)):
        return None
    digits = [_ROMAN_DIGITS[letter] for letter in token]
    signed = (-a if a < b else a for a, b in zip(digits, [*digits[1:], 0], strict=True))
    return Amount(float(sum(signed)), at + 1)
