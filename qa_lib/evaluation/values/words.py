"""The words and signs that numbers, units and dates are written with, in English."""

from __future__ import annotations

from qa_lib.evaluation.values.tokens import ATTACHED


def _counted(words: str, start: int = 0, step: int = 1) -> dict[str, int]:
    return {word: start + step * place for place, word in enumerate(words.split())}


_TENS = "twent thirt fort fift sixt sevent eight ninet"
NUMBERS = _counted(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
) | _counted(_TENS.replace(" ", "y ") + "y", 20, 10)
ORDINALS = _counted(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth",
    1,
)
ORDINALS |= _counted(_TENS.replace(" ", "ieth ") + "ieth", 20, 10) | {"hundredth": 100}
SCALES = {"dozen": 12.0, "hundred": 100.0, "thousand": 1e3, "million": 1e6, "billion": 1e9}
SCALES |= {"trillion": 1e12, "mln": 1e6, "bn": 1e9}
# Of money; elsewhere "5K" may be a race, a resolution, a temperature, and "5m" metres.
LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9}
JOINERS = {"to", "or", "and"}  # of a range
FRACTIONS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4} | {
    f"{word}{plural}": value
    for word, value in ORDINALS.items()
    if 4 <= value <= 10
    for plural in ("", "s")
}
# Behind a number they make it another, which is not read.
UNREAD = {"×", "x", "cubic", "nautical", "fahrenheit", "mn", "tn", "t", f"{ATTACHED}t"}
UNREAD |= {f"{scale}{ending}" for scale in SCALES for ending in ("th", "ths")}
UNREAD |= {f"{word}s" for word, value in ORDINALS.items() if value > 10}  # "five sixteenths"
BEHIND_A_SHARE = {"", "of", "the", "as"}  # "a third of it", not "a third man"
DECADES = _counted(_TENS.replace(" ", "ies ") + "ies", 20, 10)
_MONTHS = _counted(
    "january february march april may june july august september october november december", 1
)
MONTHS = _MONTHS | {name[:3]: number for name, number in _MONTHS.items()} | {"sept": 9}
WEEKDAYS = _counted("monday tuesday wednesday thursday friday saturday sunday", 1)
BEFORE_CHRIST, AFTER_CHRIST = {"bc", "bce"}, {"ad", "ce"}
CURRENCIES = {"$": "$", "us$": "$", "€": "€", "£": "£", "¥": "¥"}

# Of a dimension: words, and what one of it is in the dimension's own unit.
_UNITS = {
    "ratio": "% percent per_cent pct = 0.01",
    "length": "mm millimetre millimeter = 0.001; cm centimetre centimeter = 0.01;"
    "m metre meter = 1; km kilometre kilometer = 1000; inch inches = 0.0254; foot feet ft = 0.3048;"
    "yard yd = 0.9144; mile mi = 1609.344",
    "mass": "gram = 0.001; kg kilogram = 1; tonne = 1000; pound lb lbs = 0.45359237;"
    "ounce oz = 0.02834952",
    "time": "second sec = 1; minute min = 60; hour hr = 3600; day = 86400; week = 604800;"
    "month = 2629800; year yr = 31557600; decade = 315576000",
    "$": "dollar usd = 1",
    "€": "euro eur = 1",
    "£": "pound sterling gbp = 1",
    "count": "m = 1000000",
}
UNITS: dict[str, tuple[tuple[str, float], ...]] = {}
"""A unit to its meanings, (dimension, factor) each: "pound" has two, as has the "m" of "5 m"."""

for _dimension, _line in _UNITS.items():
    for _words, _, _factor in (part.partition(" = ") for part in _line.split(";")):
        for _word in {f"{word}{plural}" for word in _words.split() for plural in ("", "s")}:
            _word = _word.replace("_", " ")
            UNITS[_word] = (*UNITS.get(_word, ()), (_dimension, float(_factor)))
            if _dimension == "length":
                for _square in (f"square {_word}", f"sq {_word}"):
                    UNITS[_square] = (("area", float(_factor) ** 2),)

# Beside a number these say nothing of what it is.
FILLERS = set(
    "a an the in on at by of to for from about around approximately approx roughly some nearly "
    "almost circa ca c year years date only exactly just total than up as many much old age aged "
    "monday tuesday wednesday thursday friday saturday sunday or so it was were is are".split()
)
# And these turn it round: "before 1990" is not 1990.
DIRECTIONS = set(
    "more over above after beyond exceeding least since less fewer under below before until most "
    "no not never without minus".split()
)
