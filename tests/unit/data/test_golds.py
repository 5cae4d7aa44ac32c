"""Golds that their context writes in another way: how they are found, and what is scored."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lib.config import DataSettings
from qa_lib.data import SCHEMA, Questions, Split, load_questions, write_shards
from qa_lib.data.columns import normalise
from qa_lib.data.places import as_meant, find
from qa_lib.data.validation import check
from qa_lib.errors import DataError
from qa_lib.evaluation import metrics

BERLIN = "Berlin has 10 inhabitants and one mayor."
RLM, ZWJ, NFD = "\u200f", "\u200d", "Cafe\u0301"


def row(context: str, *golds: tuple[str, int | None], key: str = "1") -> dict[str, Any]:
    texts, starts = ([gold[part] for gold in golds] for part in (0, 1))
    answers = {"text": texts, "answer_start": starts}
    return {"id": key, "title": "t", "context": context, "question": "?", "answers": answers}


def load(folder: Path, *rows: dict[str, Any], split: Split = "eval", **changes: Any) -> Questions:
    path = folder / "q.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return load_questions(DataSettings(source=str(path), **changes), split)


def golds(questions: Questions) -> list[list[tuple[str, int]]]:
    lists = (tuple(answers.values()) for answers in questions.table["answers"].to_pylist())
    return [list(zip(*pair, strict=True)) for pair in lists]


# -- what is scored


@pytest.mark.parametrize(
    ("context", "gold", "start", "as_written", "place"),
    [
        (f"അത് അവന്{ZWJ} ആണ്", f"അവന്{ZWJ}", 4, "അവന്", 4),
        ("the “old” bridge", '"old" bridge', 4, "“old” bridge", 4),
        ("the “old” bridge", '"old" bridge', None, "“old” bridge", 4),
        ("from 1990–1995 on", "1990-1995", 5, "1990–1995", 5),
        (f"{NFD} Roma", "Café Roma", 0, f"{NFD} Roma", 0),
        (f"in {RLM}10{RLM} days", f" {RLM}10{RLM}", 2, "10", 4),
        ("in \u202b10\u202c days", "\u202b10\u202c", 3, "10", 4),
        ("in \u206610\u2069 days", "10\u061c", 4, "10", 4),
    ],
)
def test_a_gold_counts_as_the_file_has_it_and_as_the_context_writes_it(
    tmp_path, context, gold, start, as_written, place
):
    loaded = load(tmp_path, row(context, (gold, start)))
    assert golds(loaded) == [[(as_written, place), (gold.strip(), -1)]]
    assert loaded.notes["golds counted in their context's form as well"] == 1
    for answer in (gold, as_written):
        assert metrics.score(loaded.table, {"1": answer}).summary()["em"] == 100
    assert golds(load(tmp_path, row(context, (gold, start)), split="train")) == [
        [(as_written, place)]
    ]


@pytest.mark.parametrize("given_at", [11, 10, None])
def test_a_gold_of_one_form_counts_once(tmp_path, given_at):
    loaded = load(tmp_path, row(BERLIN, ("10 ", given_at), (" 10", 10)))
    assert golds(loaded) == [[("10", 11), ("10", 11)]]


def test_golds_that_stand_come_before_what_the_file_has(tmp_path):
    context = "the “old” bridge of 1890"
    loaded = load(tmp_path, row(context, ("ten", -1), ('"old"', 4), ("1890", 20), ("\u200bx", 0)))
    stand = [("“old”", 4), ("1890", 20)]
    assert golds(loaded) == [[*stand, ("ten", -1), ('"old"', -1), ("\u200bx", -1)]]
    assert loaded.notes["golds not in their context"] == 2


# -- where a gold stands


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("10", "In 2010 there were 10.", [(19, 21)]),
        ("10", "10 and 10", [(0, 2), (7, 9)]),
        ("10", "2010", [(2, 4)]),
        ("São  Tomé", "In Sa\u0303o\nTome\u0301!", [(3, 13)]),
        ("fine", "a ﬁne day", [(2, 5)]),
        ("it's", "So it’s true", [(3, 7)]),
        ("東京", "私は東京に住む", [(2, 4)]),
        ("ガス", "ｶﾞｽがある", [(0, 3)]),
        ("eleven", "ten", []),
        ("\u200b", "a b", []),
        ("15 km2", "It has 15 km².", [(7, 13)]),
        ("it's 10", "Here it’s 10³ people", [(5, 12)]),
        ("well-known", "the well‑known bridge", [(4, 14)]),
        ("-40", "It was −40 in May", [(7, 10)]),
        ("10 days", "in \u202b10\u202c days", [(4, 12)]),
    ],
)
def test_a_gold_without_offset_is_found_as_it_stands(text, context, expected):
    assert find(text, context) == expected


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("1", "Add ½ cup of milk"),
        ("2", "Add ½ cup of milk"),
        ("ine", "a ﬁne day"),
        ("N", "He lives at № 5"),
        ("3", "10³ people came"),
        ("2", "15 km² of land"),
        ("2", "H₂O"),
    ],
)
def test_a_part_of_what_a_character_stands_for_is_no_place(tmp_path, text, context):
    assert find(text, context) == []
    assert all(as_meant(text, context, begin) is None for begin in range(len(context)))
    loaded = load(tmp_path, row(context, (text, None)))
    assert golds(loaded) == [[(text, -1)]]


def test_a_long_text_in_decomposed_letters_stands_at_its_offset():
    text = "한국어" * 10
    context = "".join(map(chr, [0x1112, 0x1161, 0x11AB, 0x1100, 0x116E, 0x11A8, 0x110B, 0x1165]))
    assert as_meant(text, f"{context * 10}.", 0) == (0, 80)


@pytest.mark.parametrize("wrong_first", [False, True])
def test_offsets_are_mended_whatever_the_order_of_rows(tmp_path, wrong_first):
    context = "é" * 20 + " Berlin has 10 inhabitants"
    in_bytes = [row(context, ("10", 52), key=f"good {n}") for n in range(600)]
    wrong = [row(context, ("10", 3), key=f"bad {n}") for n in range(500)]
    rows = [*wrong, *in_bytes] if wrong_first else [*in_bytes, *wrong]
    loaded = load(tmp_path, *rows, split="train", bad_row_limit=0.5)
    assert (len(loaded), loaded.num_quarantined) == (600, 500)
    assert loaded.notes["offsets mended"] == 600


def test_what_is_found_is_told_and_what_is_not_is_quarantined(tmp_path):
    rows = [row(BERLIN, (text, None), key=text) for text in ("10", "n", "eleven")]
    with pytest.raises(DataError, match=r"row 2: the answer is not found .*id 'eleven', answers"):
        load(tmp_path, *rows, split="train")
    loaded = load(tmp_path, *rows, split="train", bad_row_limit=0.5)
    assert loaded.notes == {"golds without offset found": 2, "of them in several places": 1}
    assert loaded.num_quarantined == 1
    assert "1 of them in several places" in str(loaded)


# -- prepared folders


def read_again(questions: Questions, folder: str) -> Questions:
    write_shards([questions], folder)
    return load_questions(DataSettings(source=folder), questions.split)


def test_prepared_golds_are_read_as_they_were(tmp_path):
    """One with a wrong offset is elsewhere in the context, but does not belong there."""
    moved = row(BERLIN, ("10", 11), ("one mayor", 12))
    written = load(tmp_path, moved, row("a “b”", ('"b"', 2), key="2"))
    assert golds(written) == [[("10", 11), ("one mayor", -1)], [("“b”", 2), ('"b"', -1)]]
    read = read_again(written, str(tmp_path / "prepared"))
    assert golds(read) == golds(written)
    assert read.fingerprint == written.fingerprint and not read.notes


TEXTS = st.text(st.sampled_from('ab é\u0301\u200b”"½1´'), min_size=1, max_size=6)
FOLDERS = count()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.lists(st.tuples(TEXTS, st.integers(-1, 5)))), min_size=1))
def test_preparing_and_reading_changes_no_question(cases):
    rows = [row(f"{text}.", *answers, key=str(n)) for n, (text, answers) in enumerate(cases)]
    found = check(normalise(pa.Table.from_pylist(rows, SCHEMA), "rows"), all_golds_count=True)
    if len(found.table):
        written = Questions(found.table.cast(SCHEMA), "eval", "rows")
        read = read_again(written, f"memory://golds/{next(FOLDERS)}")
        assert read.table.to_pylist() == written.table.to_pylist() and not read.notes
