"""Numbers and dates by value: a table of texts, and what must be said of each pair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib.evaluation.values.agreement import Verdict, agree
from qa_lib.evaluation.values.reading import read

SAME = """
1,000 | one thousand
1000 | 1,000
twelve | a dozen
twenty-five | 25
one hundred and five | 105
two hundred thousand | 200,000
3.4 million | 3,400,000
$2.5 million | 2,500,000 dollars
5 pounds | £5
50% | 50 percent
50% | half of them
two thirds | 2/3
about 5 kilometres | 5 km
100 miles | 160 km
24 months | two years
7 days | one week
third | 3rd place
first | 1st
50 | 50 people
5 May 1990 | May 5, 1990
Monday, 5 May 1990 | May 5, 1990
September 2003 | Sept. 2003
December 25 | 25 December
1918 | in the year 1918
nineteen eighty-four | 1984
around 500 BC | 500 BCE
AD 500 | 500 CE
the fifth of May 1990 | 5 May 1990
the 12th century | twelfth century
the 1960s | the sixties
on Monday | Monday
Super Bowl 50 | Super Bowl L
World War II | World War 2
1914-18 | 1914-1918
1914 to 1918 | 1914-18
1990/91 | 1990-1991
the 60s | the 1960s
the '60s | the sixties
5 square miles | 13 square kilometers
about one-eighth of it | 1/8
three thousand two hundred | 3,200
two thousand and five | 2,005
one million, two hundred thousand | 1.2 million
two thousand million | 2 billion
five hundred and six thousand | 506,000
fifteen hundred and six | 1,506
twenty twenty-one | 2021
one hundred and first | 101st
two hundred and fifty-sixth | 256th
sixty-first | 61st
$1.5m | 1.5 million dollars
£100M | 100 million pounds
$5bn | 5 billion dollars
5m dollars | $5 million
50 per cent | half
1.5 km² | 1.5 square kilometres
10–15% | 10–15% of them
two to three million | 2-3 million people
100–110 m | 100 m to 110 m
about one-eighth | about one-eighth the number
25 m | 25 metres
"""
DIFFERENT = """
1990 | 1991
1,000 | 1,100
15 | fifty
$2.5 million | $2.5 billion
50% | 15%
5 miles | 5 hours
5 miles | 5 km
24 months | 24 days
two thirds | one third
third | second
5 May 1990 | 5 May 1991
5 May 1990 | May 6
May 1990 | June 1990
500 BC | AD 500
the 12th century | the 13th century
1960s | 1970s
19th century | 1950
Monday | Tuesday
in May | June
Super Bowl 50 | Super Bowl 49
World War I | World War II
Louis XIV | Louis XV
F-16 | F-15
between 1990 and 1995 | 1993
1914-18 | 1914-1919
the 60s | the 1970s
5 square miles | 5 miles
10 km² | 10 km
three thousand two hundred | 3,000
£100m | £200m
£1.3bn | £4.2bn
25m people | 30 million people
2-3 thousand | 5000
5 million (1990) | 6 million
1800s | 1900s
5 feet 10 inches | 6 feet
"""
# Less precise, more than the value, no value at all, or written in a way that is not read.
OPEN = """
1990 | 5 May 1990
May 1990 | 5 May 1990
19th century | 1850
1990 | between 1990 and 1995
before 1990 | 1990
World Cup 1990 | 1990
1,000 soldiers | 1,000 horses
one of his brothers | his brother
no one | 1
the 5th | May 5, 1990
Monday | 1990
24-10 | 10-24
Denver | Boston
Denver | 1990
I | you
marching | May
1990/91 | 1990
13 years and 48 days | 13 years
1st century BC | the 1st
5 pm | 5:00
5K | 5 km
the sixties | 60
the 11th | 12th century
the fifth of May 1990 | 1990-05-05
half a million | 500,000
two and a half hours | 2½ hours
3 1/2 | 3.5
10 000 | 10,000
10\u202f000 | ten thousand
5K | 6,000
5 pm | 17:00
5:30 p.m. | 17:30
minus 40 | -40
minus 40 | 40
100 km/h | 62 mph
100 °C | 212 degrees Fahrenheit
5 cubic metres | 5,000 litres
more than 1,000 | less than 1,000
one | one of the best schools
5 thousand 200 | 5,200
5 thousand 200 | 5,000
two thousand and five hundred | 2,500
5 million (1990) | 1990
3 million (30%) | 30%
nineteen oh five | 1905
two three thousand | 2000-3000
two hundredths | 0.02
25m | 25 million
25m | 25 metres
25 m | 25 million
2.4m customers | 2.4 million customers
30M years | 30 million years
2-3 thousand | 2000-3000
three to four hundred | 300-400
$5-10 million | $5 million to $10 million
5-10 km | 5,000-10,000 m
100–106 °F | 38–41 °C
3,14 | 3.14
10,00,000 | 1,000,000
'95 | 1995
half an hour | 30 minutes
half a million | half a billion
two and a half million | two and a half
10½ miles | 10 miles
2½ miles in 1990 | 1991
10 km/h | 10 km
10 km per hour | 10 km
10 gallons | 10 km
5K | 5K resolution
a third man | 1/3
Half | 100,000
36% of households | 25 million people
late 1800s | 1890s
5 feet 10 inches | 70 inches
2 hours and 30 minutes | 150 minutes
15 miles (24 km) | 24 km
$20 T-shirt | $20
€5mn | €5 million
the 1900s | the sixties
"""


def pairs(table: str) -> list[tuple[str, ...]]:
    return [tuple(line.split(" | ")) for line in table.strip().splitlines()]


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(*pair, Verdict.SAME) for pair in pairs(SAME)]
    + [(*pair, Verdict.DIFFERENT) for pair in pairs(DIFFERENT)]
    + [(*pair, Verdict.OPEN) for pair in pairs(OPEN)],
)
def test_values_decide_where_they_can_in_either_order(first, second, verdict):
    assert agree(first, second) is verdict
    assert agree(second, first) is verdict


def test_an_encoder_sees_values_written_in_one_way():
    assert read("two thousand people in May 1990").plain == "2000 people in 1990-5"
    assert read("no value here").plain == "no value here"


WORDS = (
    "one two half and a third 1990 5 - 5:30 pm of May BC century 60s % $ miles 1/2 in m to II "
    "thousand million hundredth 25m 3,14 10½ per or minus 200"
).split()


@given(*[st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)] * 2)
def test_any_texts_are_compared_alike_in_either_order(first, second):
    assert agree(first, second) is agree(second, first)
    assert agree(first, first) is not Verdict.DIFFERENT
    hash(read(first))  # nobody can change what is kept


@pytest.mark.parametrize(
    "text",
    ["", " ", "-", "1/0", "$", "½", "%", "and", "half", "13/13/2013", "'95", "²", "minus", "5 ·m"],
)
def test_odd_texts_are_read(text):
    assert agree(text, text + " x") in Verdict
    assert agree(text, "1990") in Verdict
