"""From a template and facts to prose that knows where each fact stands.

A template is prose with two marks. ``[a|b|]`` is one of the alternatives (they nest, and one may be
empty). ``{slot}`` is a fact, ``{slot.last}`` a form of it (a person's surname or pronoun), and a
``^`` before the closing brace gives it a capital letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

_INNERMOST_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-z_0-9]+)(?:\.(last|he|him|his))?(\^?)\}")


@dataclass(frozen=True)
class Person:
    """Somebody who is named in full once, and by surname or pronoun afterwards."""

    given: str
    last: str
    he: str
    him: str
    his: str

    def __str__(self) -> str:
        """Return the full name."""
        return f"{self.given} {self.last}"


Facts = Mapping[str, str | Person]


@dataclass(frozen=True)
class Mention:
    """Where a fact stands in rendered prose; ``first_char`` counts characters."""

    slot: str
    text: str
    first_char: int
    is_surname: bool


def pick(rng: Random, options: Sequence[T]) -> T:
    """Return one of the options, by ``Random.random``, whose values every Python agrees on."""
    return options[int(rng.random() * len(options))]


def in_random_order(items: Sequence[T], rng: Random) -> list[T]:
    """Return the items shuffled, by ``Random.random`` as well."""
    order = sorted((rng.random(), index) for index in range(len(items)))
    return [items[index] for _, index in order]


def slots(template: str) -> set[str]:
    """Return the slots that a template names, in any of its alternatives."""
    return {match.group(1) for match in _SLOT.finditer(template)}


def choose(template: str, rng: Random) -> str:
    """Return the template with one alternative of each choice kept and white space normalised."""
    while match := _INNERMOST_CHOICE.search(template):
        kept = pick(rng, match.group(1).split("|"))
        template = template[: match.start()] + kept + template[match.end() :]
    return re.sub(r"\s+([,.;:?])", r"\1", " ".join(template.split()))


def fill(template: str, facts: Facts) -> tuple[str, list[Mention]]:
    """Return a template without choices as prose, with every mention of a fact in order.

    Pronouns are no mentions: they answer nothing.
    """
    pieces: list[str] = []
    mentions: list[Mention] = []
    num_chars = end = 0
    for match in _SLOT.finditer(template):
        slot, form, capital = match.groups()
        fact = facts[slot]
        text = str(getattr(fact, form) if form else fact)
        if capital:
            text = text[0].upper() + text[1:]
        before = template[end : match.start()]
        if form in (None, "last"):
            mentions.append(Mention(slot, text, num_chars + len(before), form == "last"))
        pieces += [before, text]
        num_chars += len(before) + len(text)
        end = match.end()
    return "".join(pieces) + template[end:], mentions
