"""What a genre of passage consists of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from scripts.corpus.draw import Draw
from scripts.corpus.grammar import Facts

_NEXT_WORDING = re.compile(r"^\s*- ", re.MULTILINE)


@dataclass(frozen=True)
class Wordings:
    """Ways to say or to ask one thing: templates in a list, each after a dash.

    Args:
        train: The wordings of training.
        held_out: Those of evaluation, which training never meets.
    """

    train: str
    held_out: str

    def templates(self, *, held_out: bool) -> tuple[str, ...]:
        """Return one of the two lists, in order."""
        return _templates(self.held_out if held_out else self.train)


@cache
def _templates(dashed_list: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in _NEXT_WORDING.split(dashed_list)[1:])


@dataclass(frozen=True)
class Genre:
    """A kind of passage: an opening, some of the middle parts in any order, an ending.

    Args:
        name: What ids of questions call it.
        title: Template of a passage's title.
        facts: Draws the facts of one passage, by slot.
        opening: Wordings of the first sentence or two.
        middle: Wordings of what follows; every part can be understood after the opening alone.
        ending: Wordings of what comes last.
        questions: For each slot that can be asked for, how.
    """

    name: str
    title: str
    facts: Callable[[Draw], Facts]
    opening: Wordings
    middle: tuple[Wordings, ...]
    ending: Wordings
    questions: Mapping[str, Wordings]
