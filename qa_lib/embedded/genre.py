"""What a genre of passage consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qa_lib.embedded.draw import Draw
from qa_lib.embedded.grammar import Facts


@dataclass(frozen=True)
class Asked:
    """Ways to ask for one fact: question templates, one per line.

    Args:
        train: What training questions are phrased with.
        held_out: What held-out questions are phrased with, and training questions never.
    """

    train: str
    held_out: str


@dataclass(frozen=True)
class Genre:
    """A kind of passage.

    Args:
        name: What titles call it.
        facts: Draws the facts of one passage, by slot.
        train: Templates of training passages.
        held_out: Templates of held-out passages.
        questions: For each slot that can be asked for, how.
    """

    name: str
    facts: Callable[[Draw], Facts]
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    questions: Mapping[str, Asked]
