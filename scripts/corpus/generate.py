"""From genres to the rows of a split, and to the Parquet files of both splits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib.data.embedded import FILE_NAMES
from qa_lib.data.schema import SCHEMA
from scripts.corpus.draw import Draw, NameStock, Split
from scripts.corpus.genre import Genre
from scripts.corpus.genres import GENRES
from scripts.corpus.grammar import Mention, choose, fill, in_random_order, pick, slots

VERSION = 4
NUM_PASSAGES_PER_GENRE: dict[Split, int] = {"train": 57, "eval": 10}
HELD_OUT_SENTENCE_SHARE = 0.4  # of a held-out passage's sentences, worded as in no training passage
NUM_MIDDLE_PARTS = 1  # between opening and ending: short passages train quickly
NUM_QUESTIONS_PER_PASSAGE = 6

_YEAR = re.compile(r"\b(?:1[4-9]|20)\d\d\b")


@dataclass(frozen=True)
class Passage:
    """One passage with its questions.

    Args:
        id: Split, genre and number in it.
        title: What it is about.
        context: The prose.
        entities: Every invented name that it mentions.
        questions: Pairs of a question and its answers; an answer is (first character, text).
    """

    id: str
    title: str
    context: str
    entities: tuple[str, ...]
    questions: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]


def write(folder: Path) -> list[Path]:
    """Write the Parquet file of each split into a folder, and return their paths.

    The bytes are the same for the same code and the same pyarrow, which the lock pins.
    """
    paths = []
    for split in NUM_PASSAGES_PER_GENRE:
        paths.append(folder / FILE_NAMES[split])
        pq.write_table(corpus(split), paths[-1], compression="zstd", compression_level=19)
    return paths


def corpus(split: Split) -> pa.Table:
    """Generate the questions of a split, as `qa_lib.data.embedded.corpus` returns them."""
    rows = [
        {
            "id": f"{passage.id}-{nth}",
            "title": passage.title,
            "context": passage.context,
            "question": question,
            "answers": {
                "text": [text for _, text in answers],
                "answer_start": [first_char for first_char, _ in answers],
            },
        }
        for passage in passages(split)
        for nth, (question, answers) in enumerate(passage.questions)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def passages(split: Split) -> Iterator[Passage]:
    """Yield the passages of a split, genres taking turns."""
    stock = NameStock(split)
    for number in range(NUM_PASSAGES_PER_GENRE[split]):
        for genre in GENRES:
            yield _passage(genre, split, number, stock)


def _passage(genre: Genre, split: Split, number: int, stock: NameStock) -> Passage:
    rng = Random(f"{VERSION}/{split}/{genre.name}/{number}")  # text seeds are hashed by SHA-512
    draw = Draw(split, stock, rng)
    facts = genre.facts(draw)
    context, mentions = fill(_template(genre, split, rng), facts)

    spoken = {mention.slot for mention in mentions}
    questions: list[tuple[str, tuple[tuple[int, str], ...]]] = []
    for slot in in_random_order(sorted(spoken & genre.questions.keys()), rng):
        if len(questions) == NUM_QUESTIONS_PER_PASSAGE:
            break
        wordings = genre.questions[slot].templates(held_out=split == "eval")
        phrasings = [choose(wording, rng) for wording in wordings]
        phrasings = [phrasing for phrasing in phrasings if slots(phrasing) <= spoken]
        if phrasings and not _is_the_only_year(str(facts[slot]), context):
            question, _ = fill(pick(rng, phrasings), facts)
            questions.append((question, _answers(slot, mentions, split)))
    return Passage(
        id=f"embedded-{VERSION}-{split}-{genre.name}-{number:02d}",
        title=fill(genre.title, facts)[0],
        context=context,
        entities=tuple(
            name for name in draw.entities if any(name in str(facts[slot]) for slot in spoken)
        ),
        questions=tuple(questions),
    )


def _is_the_only_year(answer: str, context: str) -> bool:
    """Say whether an answer is the passage's only year: its shape would give it away."""
    return bool(_YEAR.fullmatch(answer)) and set(_YEAR.findall(context)) == {answer}


def _template(genre: Genre, split: Split, rng: Random) -> str:
    """Return a whole passage's template, without choices."""
    middle = in_random_order(genre.middle, rng)[:NUM_MIDDLE_PARTS]
    parts = (genre.opening, *middle, genre.ending)
    sentences = []
    for part in parts:
        held_out = split == "eval" and rng.random() < HELD_OUT_SENTENCE_SHARE
        sentences.append(choose(pick(rng, part.templates(held_out=held_out)), rng))
    return " ".join(sentences)


def _answers(slot: str, mentions: list[Mention], split: Split) -> tuple[tuple[int, str], ...]:
    """Return the first mention in full and, where held out, the first by surname."""
    in_full = [m for m in mentions if m.slot == slot and not m.is_surname]
    by_surname = [m for m in mentions if m.slot == slot and m.is_surname]
    accepted = in_full[:1] + (by_surname[:1] if split == "eval" else [])
    return tuple((mention.first_char, mention.text) for mention in accepted)
