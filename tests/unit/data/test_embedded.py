from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from itertools import product
from random import Random

import pytest

from benchmarks.embedded import f1, overlap_answers, shuffled
from qa_lib.data import SCHEMA
from qa_lib.data.embedded import FILE_NAMES, FOLDER, corpus
from scripts.corpus.generate import passages, write
from scripts.corpus.genre import Genre, Wordings
from scripts.corpus.genres import GENRES
from scripts.corpus.grammar import Mention, Person, choose, fill

# A change of the corpus on purpose raises VERSION, runs `python -m scripts.corpus` and puts the new
# hashes here: figures measured before it are of another corpus.
SHA256 = {
    "train": "dd7460da5d5bf2802e44d5622f5d035e85d81de4bf8c98c5911934ae5367644d",
    "eval": "3e112da0f87d1861a0b3ae40175aa36bf585dc780f25d83bb16339834d188d6e",
}

SPLITS = ("train", "eval")
ROWS = {split: corpus(split).to_pylist() for split in SPLITS}
PASSAGES = {split: list(passages(split)) for split in SPLITS}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def expansions(template: str) -> set[str]:
    """Return a template with every combination of its choices."""
    pieces = re.split(r"\[([^\[\]]*)\]", template)
    options = [piece.split("|") if odd % 2 else [piece] for odd, piece in enumerate(pieces)]
    return {" ".join("".join(chosen).split()) for chosen in product(*options)}


def wordings_of(genre: Genre) -> list[Wordings]:
    return [genre.opening, *genre.middle, genre.ending, *genre.questions.values()]


@pytest.mark.parametrize("split", SPLITS)
def test_the_text_is_the_same_everywhere_until_it_is_changed_on_purpose(split):
    content = json.dumps(ROWS[split], sort_keys=True).encode()
    assert hashlib.sha256(content).hexdigest() == SHA256[split]


def test_the_generator_writes_the_same_bytes_as_the_files_of_the_library(tmp_path):
    for path in write(tmp_path):
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), (
            f"{path.name} is out of date: run `python -m scripts.corpus`"
        )
    assert {path.name for path in FOLDER.glob("*.parquet")} == set(FILE_NAMES.values())


def test_there_are_enough_questions_of_every_genre():
    assert len(ROWS["train"]) >= 3000
    assert len(ROWS["eval"]) >= 500
    for split in SPLITS:
        assert corpus(split).schema == SCHEMA
        per_genre = Counter(row["id"].split("-")[3] for row in ROWS[split])
        assert len(per_genre) == len(GENRES)
        assert min(per_genre.values()) > 0.9 * len(ROWS[split]) / len(GENRES)


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_stands_at_its_offset_as_whole_words(split):
    for row in ROWS[split]:
        answers = row["answers"]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            end = start + len(text)
            assert row["context"][start:end] == text
            assert not re.match(r"\w", row["context"][end:])
            assert not re.search(r"\w$", row["context"][:start])
    assert len({row["id"] for row in ROWS[split]}) == len(ROWS[split])
    assert len({passage.title for passage in PASSAGES[split]}) == len(PASSAGES[split])


def test_no_name_occurs_in_two_passages():
    names = [name for split in SPLITS for passage in PASSAGES[split] for name in passage.entities]
    assert len(set(names)) == len(names)
    for passage in PASSAGES["eval"]:
        assert all(name in passage.context for name in passage.entities)

    training_words = {word for row in ROWS["train"] for word in words(row["context"])}
    held_out_names = {n for p in PASSAGES["eval"] for n in p.entities if " " not in n}
    assert not held_out_names & training_words


def test_held_out_people_share_not_even_a_given_name_with_training():
    given = {split: set() for split in SPLITS}
    for split in SPLITS:
        surnames = {name for passage in PASSAGES[split] for name in passage.entities}
        for row in ROWS[split]:
            first, *rest = row["answers"]["text"][0].split()
            if len(rest) == 1 and rest[0] in surnames and first != "Mount":
                given[split].add(first)
    assert len(given["eval"]) > 20
    assert not given["eval"] & given["train"]


def test_held_out_wordings_are_absent_from_training():
    for genre in GENRES:
        for wordings in wordings_of(genre):
            used = {e for t in wordings.templates(held_out=False) for e in expansions(t)}
            held_out = {e for t in wordings.templates(held_out=True) for e in expansions(t)}
            assert len(used) >= 3
            assert held_out
            assert not used & held_out
    asked = {split: {row["question"] for row in ROWS[split]} for split in SPLITS}
    assert not asked["train"] & asked["eval"]


@pytest.mark.parametrize("genre", GENRES, ids=lambda genre: genre.name)
def test_every_wording_tells_the_same_facts(genre):
    for part in (genre.opening, *genre.middle, genre.ending):
        templates = part.templates(held_out=False) + part.templates(held_out=True)
        told = [
            set(re.findall(r"\{(\w+)\^?\}", expansion)) & genre.questions.keys()
            for template in templates
            for expansion in expansions(template)
        ]
        assert all(facts == told[0] for facts in told), told


@pytest.mark.parametrize("split", SPLITS)
def test_a_passage_is_prose_and_no_template(split):
    for passage in PASSAGES[split]:
        for text in (passage.context, *(question for question, _ in passage.questions)):
            assert not re.search(r"[\[\]{}|]|  | [,.;:?]|\.\.", text), text
        assert passage.context[0].isupper() or passage.context[0].isdigit()
        assert 40 <= len(words(passage.context)) <= 100


@pytest.mark.parametrize("split", SPLITS)
def test_no_question_gives_its_answer_away(split):
    for row in ROWS[split]:
        for text in row["answers"]["text"]:
            assert not re.search(rf"\b{re.escape(text)}\b", row["question"]), row


@pytest.mark.parametrize("split", SPLITS)
def test_what_looks_like_the_answer_stands_in_the_passage_more_than_once(split):
    shapes = (
        r"1[4-9]\d\d|20\d\d",  # a year
        r"\d{1,2} [A-Z][a-z]+",  # a day
        r"[A-Z][a-z]+ [A-Z][a-z]+",  # a person
        r"[A-Z][a-z]+",  # a place
        r"\d[\d,]*( [a-z]+)*",  # a number
    )
    alone = 0
    for row in ROWS[split]:
        answer = row["answers"]["text"][0]
        shape = next((shape for shape in shapes if re.fullmatch(shape, answer)), None)
        if shape:
            alone += len(re.findall(rf"\b(?:{shape})\b", row["context"])) < 2
    assert alone == 0


@pytest.mark.parametrize("split", SPLITS)
def test_the_questions_of_a_passage_have_different_answers(split):
    for passage in PASSAGES[split]:
        texts = [answers[0][1].lower() for _, answers in passage.questions]
        assert len(set(texts)) == len(texts), passage.context


def test_words_in_common_do_not_find_the_answer():
    questions = corpus("eval")
    assert f1(questions, overlap_answers(questions)) < 50


def test_shuffling_asks_every_question_once_and_none_in_its_place():
    questions = corpus("eval")
    before, after = questions.to_pylist(), shuffled(questions).to_pylist()
    for mine, other in zip(before, after, strict=True):
        assert mine["question"] != other["question"]
        assert mine | {"question": ""} == other | {"question": ""}
    passage_of = {(row["context"], row["question"]) for row in before}
    assert {(row["context"], row["question"]) for row in after} == passage_of


def test_a_mention_knows_its_place():
    ada = Person("Ada", "Byron", "she", "her", "her")
    text, mentions = fill(
        "{who.he^} paid; {thing^} of {who} is {who.last}'s.", {"who": ada, "thing": "the hat"}
    )
    assert text == "She paid; The hat of Ada Byron is Byron's."
    assert mentions == [
        Mention("thing", "The hat", 10, False),
        Mention("who", "Ada Byron", 21, False),
        Mention("who", "Byron", 34, True),
    ]


def test_choices_nest_and_may_be_empty():
    said = {choose("a[, b[ c| d],|] e", Random(seed)) for seed in range(50)}
    assert said == {"a, b c, e", "a, b d, e", "a e"}
