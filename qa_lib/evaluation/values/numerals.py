"""The words and signs that numbers, units and dates are written with, in English."""

from __future__ import annotations

NUMBERS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
} | {
    word: 10 * tens
    for tens, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
ORDINALS = {
    word: value
    for value, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
        "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth "
        "twentieth".split(),
        start=1,
    )
} | {"thirtieth": 30, "fortieth": 40, "fiftieth": 50, "hundredth": 100}
SCALES = {
    "hundred": 1e2,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "dozen": 12.0,
}
MONEY_SCALES = {"k": 1e3, "m": 1e6, "mn": 1e6, "bn": 1e9, "b": 1e9}
FRACTIONS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4} | {
    f"{word}{plural}": value
    for word, value in ORDINALS.items()
    if 4 <= value <= 10
    for plural in ("", "s")
}
DECADES = {
    "twenties": 20,
    "thirties": 30,
    "forties": 40,
    "fifties": 50,
    "sixties": 60,
    "seventies": 70,
    "eighties": 80,
    "nineties": 90,
}
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}
WEEKDAYS = {
    name: number
    for number, name in enumerate(
        "monday tuesday wednesday thursday friday saturday sunday".split(), start=1
    )
}
BEFORE_CHRIST, AFTER_CHRIST = {"bc", "bce"}, {"ad", "ce"}
CURRENCIES = {"$": "$", "us$": "$", "€": "€", "£": "£", "¥": "¥"}

# Dimension, and what one of it is in the dimension's own unit; a word of two meanings has both.
_DAY = 86_400.0
UNITS: dict[str, tuple[tuple[str, float], ...]] = {
    word: tuple(meanings)
    for words, *meanings in (
        ("% percent per_cent pct", ("ratio", 0.01)),
        ("mm millimetre millimeter", ("length", 1e-3)),
        ("cm centimetre centimeter", ("length", 1e-2)),
        ("metre meter", ("length", 1.0)),
        ("km kilometre kilometer", ("length", 1e3)),
        ("inch inches", ("length", 0.0254)),
        ("foot feet ft", ("length", 0.3048)),
        ("yard yd", ("length", 0.9144)),
        ("mile mi", ("length", 1609.344)),
        ("acre", ("area", 4046.86)),
        ("hectare ha", ("area", 1e4)),
        ("gram", ("mass", 1e-3)),
        ("kg kilogram", ("mass", 1.0)),
        ("tonne", ("mass", 1e3)),
        ("pound", ("mass", 0.45359237), ("£", 1.0)),
        ("lb lbs", ("mass", 0.45359237)),
        ("ounce oz", ("mass", 0.02834952)),
        ("litre liter", ("volume", 1.0)),
        ("second sec", ("time", 1.0)),
        ("minute min", ("time", 60.0)),
        ("hour hr", ("time", 3600.0)),
        ("day", ("time", _DAY)),
        ("week", ("time", 7 * _DAY)),
        ("month", ("time", 365.25 / 12 * _DAY)),
        ("year yr", ("time", 365.25 * _DAY)),
        ("decade", ("time", 3652.5 * _DAY)),
        ("dollar usd", ("$", 1.0)),
        ("cent", ("$", 0.01), ("€", 0.01)),
        ("euro eur", ("€", 1.0)),
        ("sterling gbp", ("£", 1.0)),
        ("yen", ("¥", 1.0)),
        ("celsius °c", ("temperature", 1.0)),
        ("fahrenheit °f", ("temperature", 5 / 9)),
        ("watt", ("power", 1.0)),
        ("kw kilowatt", ("power", 1e3)),
        ("mw megawatt", ("power", 1e6)),
        ("horsepower hp", ("power", 745.7)),
        ("km/h kph kmh", ("speed", 1 / 3.6)),
        ("m/s", ("speed", 1.0)),
        ("mph", ("speed", 0.44704)),
        ("knot", ("speed", 1852 / 3600)),
    )
    for name in words.split()
    for word in {name, f"{name}s"}
}
UNITS |= dict.fromkeys(("nautical mile", "nautical miles", "nmi"), (("length", 1852.0),))
# A letter of two meanings: "5 m" is five metres, and "5m" may be five million.
UNITS["m"] = (("length", 1.0), ("count", 1e6))
for _word, _meanings in list(UNITS.items()):
    _dimension, _factor = _meanings[0]
    if _dimension == "length":
        for _square in ("square {}", "sq {}", "{}2", "{}²"):
            UNITS[_square.format(_word)] = (("area", _factor**2),)
        for _cubic in ("cubic {}", "cu {}", "{}3", "{}³"):
            UNITS[_cubic.format(_word)] = (("volume", 1000 * _factor**3),)  # in litres
        for _per_hour in ("{} per hour", "{} an hour"):
            UNITS[_per_hour.format(_word)] = (("speed", _factor / 3600),)

# Beside a number these say nothing of what it is.
FILLERS = set(
    "a an the in on at by of to for from about around approximately approx roughly some nearly "
    "almost circa ca c year years date only exactly just total than up as many much old age aged "
    "monday tuesday wednesday thursday friday saturday sunday or so it was were is are".split()
)
# And these turn it round: "before 1990" is not 1990.
DIRECTIONS = {
    **dict.fromkeys("more over above after beyond exceeding least since".split(), 1),
    **dict.fromkeys("less fewer under below before until most".split(), -1),
    **dict.fromkeys("no not never without".split(), 0),
}
