"""Names, years and numbers for one passage: none is given out twice in it, no name twice anywhere.

Every name is invented, and each belongs to one split: the names of held-out passages never occur
in training passages, nor do their given names or the last quarter of each list of phrases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from typing import Literal

from scripts.corpus.grammar import Person, in_random_order, pick

Split = Literal["train", "eval"]

_EVERY_NTH_NAME_HELD_OUT = 6

_WOMEN = """
    Anna Clara Edith Flora Grace Helen Ida Julia Laura Maria Nora Olga Paula Rosa Sara Vera Alice
    Cecilia Diana Elena Frida Greta Hanna Irene Joan Lena Mabel Nina Ruth Sylvia Teresa Agnes Amina
    Leila Priya Yuki Mei Fatima Ingrid Sofia Lucia Carmen Esther Miriam Harriet Matilda Rebecca
    Wilma Josephine Adela Petra Susanna Iris Marta Naomi Dora Eva Astrid
""".split()
_MEN = """
    Adam Albert Anton Arthur Carl Daniel David Edmund Emil Felix Frank George Gustav Henry Hugo Ivan
    Jacob James Joseph Karim Leo Louis Lucas Magnus Martin Max Nils Oscar Otto Paul Peter Philip
    Ralph Robert Samuel Simon Stefan Thomas Victor Walter Yusuf Kenji Ravi Diego Harold Ernest
    Julian Rafael Tobias Edwin Isaac Nikolai Vincent Stanley Pablo Marco Bruno Omar
""".split()
_SURNAME_HEADS = """
    Hal Bren Mor Tor Ald Wes Kel Dun Gar Jor Lin Mar Nor Os Pel Quin Ros Sel Tal Var Wil Yar Zel Bar
    Cal Del Em Fen Gil Hen Jas Kar Lor Mel Nes Ol Per Rad Sand Ter Vel Wend Ash Bal Cor Dor El Fal
    Gran Hol Ing Jan Kol Lam Mon Nad Or Pas Rin Sol Tam Ul Ves Wal Yor Zan Bel Cast Dra Est Fin Hart
    Arn Bert Brun Corv Dag Eber Frey Grim Holt Isen Jev Kest Lind Mard Nev Ost Pav Rav Sten Thel
""".split()
_SURNAME_TAILS = """
    vard sen man stone ner ick ova escu ini etti ez ard mont lund gren quist dahl berg stein win mer
    ski aki oto ura wala idge bury shaw yer ander igan ello anti eau ois isch hoff meyer inen oja
    ares ado rath vik kova lini
""".split()
_TOWN_HEADS = """
    Ald Ash Bar Beck Birch Black Brack Bram Bright Brook Burn Cald Carr Chal Clay Clif Cold Copper
    Crow Dal Dark Deep Drift Dun East Elm Ever Fal Farn Fern Fair Flint Fox Glen Gold Grass Green
    Hal Hard Haw Hazel Heather High Holly Horn Ivy Kell King Lake Lang Lark Lime Long Low Mal Maple
    Marsh Mere Mill Moss Net New North Oak Old Otter Pem Pine Quarry Raven Red Reed Ridge Rock Rush
    Sal Sand Sedge Shal Silver South Spring Stan Stone Sun Swan Tarn Thorn Timber Under Wald West
    White Wild Wind Winter Wood Wren Yarrow
""".split()
_TOWN_TAILS = """
    wick ford holm stad mouth haven by ton ham ley worth bridge dale field gate hurst more pool port
    thorpe stow bourne combe cliff den fell garth head hythe keld lea minster ness over rigg sett
    side stead strand toft vale water well wold
""".split()
_QUALITIES = """
    Amber Ancient Blue Bright Broken Bronze Crooked Distant Empty Faithful Fallen First Frozen
    Gentle Gilded Golden Green Grey Hidden Hollow Honest Idle Iron Ivory Last Little Lonely Long
    Lost Merry Narrow Northern Pale Patient Proud Quiet Restless Royal Scarlet Second Secret Silent
    Silver Sleeping Southern Stubborn Summer Tall Velvet Wandering White Wild Winter Wooden Young
""".split()
_THINGS = """
    Anchor Arrow Badger Beacon Bell Bridge Candle Castle Compass Crane Crown Daughter Dolphin Eagle
    Falcon Ferry Fiddle Fox Garden Gate Harbour Harvest Heron Hunter Island Kestrel Lantern Lark
    Ledger Lighthouse Lion Mariner Meadow Miller Mirror Moon Orchard Otter Owl Pearl Pilgrim Raven
    River Rose Sailor Shepherd Sparrow Star Stranger Swan Tide Tower Traveller Valley Voyager
    Watchman Well Willow
""".split()
_MONTHS = """
    January February March April May June July August September October November December
""".split()

_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


class NameStock:
    """The names of one split, in a fixed order; each is handed out once."""

    def __init__(self, split: Split) -> None:
        """Set aside the split's share of each kind of name."""
        self.surnames = _share(_SURNAME_HEADS, _SURNAME_TAILS, "", split)
        self.towns = _share(_TOWN_HEADS, _TOWN_TAILS, "", split)
        self.emblems = _share(_QUALITIES, _THINGS, " ", split)


def _share(heads: Sequence[str], tails: Sequence[str], joint: str, split: Split) -> Iterator[str]:
    names = dict.fromkeys(
        head + joint + tail
        for head, tail in product(heads, tails)
        if joint or head[-1].lower() != tail[0]  # no Hallley
    )
    shuffled = in_random_order(list(names), Random(len(names)))
    return (
        name
        for index, name in enumerate(shuffled)
        if (index % _EVERY_NTH_NAME_HELD_OUT == 0) == (split == "eval")
    )


class Draw:
    """What one passage draws its facts from.

    Args:
        split: Whose names and phrases to use.
        stock: The split's names, shared by its passages.
        rng: The passage's own random numbers.
    """

    def __init__(self, split: Split, stock: NameStock, rng: Random) -> None:
        """Start with nothing given out."""
        self.rng = rng
        self.entities: list[str] = []
        self._split = split
        self._stock = stock
        self._used: set[str] = set()

    def one(self, options: Sequence[str]) -> str:
        """Return one of the options: held-out passages have the last quarter for themselves."""
        first_held_out = len(options) - max(1, len(options) // 4)
        held_out = self._split == "eval"
        share = options[first_held_out:] if held_out else options[:first_held_out]
        unused = [option for option in share if option not in self._used]
        choice = pick(self.rng, unused)
        self._used.add(choice)
        return choice

    def _entity(self, name: str) -> str:
        self.entities.append(name)
        return name

    def people(self, num_people: int) -> list[Person]:
        """Return people with different given names and surnames."""
        return [self._person() for _ in range(num_people)]

    def _person(self) -> Person:
        is_woman = self.rng.random() < 0.5
        given = self.one(_WOMEN if is_woman else _MEN)
        last = self._entity(next(self._stock.surnames))
        he, him, his = ("she", "her", "her") if is_woman else ("he", "him", "his")
        return Person(given, last, he, him, his)

    def towns(self, num_towns: int) -> list[str]:
        """Return names of towns, or of whatever else bears a simple name (rivers, lakes, teams)."""
        return [self._entity(next(self._stock.towns)) for _ in range(num_towns)]

    def emblem(self) -> str:
        """Return a name such as Silver Heron, for a ship, a book or a house."""
        return self._entity(next(self._stock.emblems))

    def firm(self, kinds: Sequence[str]) -> str:
        """Return the name of a firm of one of the kinds."""
        return f"{self._entity(next(self._stock.surnames))} {self.one(kinds)}"

    def number(self, low: int, high: int, step: int = 1) -> str:
        """Return a number from low to high, in digits, not yet used in this passage."""
        while True:
            value = low + step * int(self.rng.random() * ((high - low) // step + 1))
            text = f"{value:,}"
            if text not in self._used:
                self._used.add(text)
                return text

    def years(self, first: tuple[int, int], *gaps: tuple[int, int]) -> list[str]:
        """Return ascending years: the first from a range, then each a gap from a range later."""
        year, years = 0, []
        for low, high in (first, *gaps):
            year += low + int(self.rng.random() * (high - low + 1))
            years.append(str(year))
        self._used.update(years)
        return years

    def days(self, num_days: int) -> list[str]:
        """Return ascending days of a year, such as 14 March, in different months."""
        months = in_random_order(range(len(_MONTHS)), self.rng)[:num_days]
        return [f"{self.number(1, 28)} {_MONTHS[month]}" for month in sorted(months)]

    def weekdays(self, num_days: int) -> list[str]:
        """Return different days of the week."""
        return in_random_order(_WEEKDAYS, self.rng)[:num_days]
