"""Encodings of files, forms of Unicode, and what offsets may count instead of characters."""

from __future__ import annotations

import json
from unicodedata import normalize

import pyarrow as pa
import pytest

from qa_lib.data import json_stream
from tests.support.question_files import (
    ASKED,
    READ,
    ROW,
    TEN,
    article,
    as_json,
    content,
    load,
    refusal,
    squad,
)

ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["q.json", "q.jsonl", "q.csv"])
def test_a_text_file_says_its_encoding_or_shows_it(tmp_path, encoding, name):
    text = {
        "q.json": json.dumps(squad(ASKED | {"answers": [TEN]}), indent=1),
        "q.jsonl": json.dumps(ROW | {"answers": [TEN]}) + "\r\n",
        "q.csv": f"id,question,context,answer\r\n1,{READ[0][1]},{READ[0][2]},10\r\n",
    }[name]
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert content(load(tmp_path / name)) == READ


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1251"])
@pytest.mark.parametrize("name", ["q.json", "q.csv"])
def test_bytes_that_are_not_utf8_name_the_field_and_how_to_convert(tmp_path, encoding, name):
    context = "Привет 10" if encoding == "cp1251" else "Z\u00fcrich has 10"
    text = f'question,context,answer\n?,"{context}",10\n'
    if name == "q.json":
        text = json.dumps(
            [{"question": "?", "context": context, "answer": "10"}], ensure_ascii=False
        )
    (tmp_path / name).write_bytes(text.encode(encoding))
    error = refusal(tmp_path / name, bad_row_limit=0.5)
    assert "context: " in error.problem and "\\x" in error.problem
    assert "UTF-8" in error.remedy and "bad-row-limit" not in error.remedy


def test_a_header_that_is_not_utf8_names_it_and_how_to_convert(tmp_path):
    text = "question,context,answer,Schlüssel\nQ,10,10,x\n"
    (tmp_path / "q.csv").write_bytes(text.encode("cp1252"))
    error = refusal(tmp_path / "q.csv")
    assert "not valid UTF-8: question,context,answer,Schl\\xfcssel" in error.problem
    assert "iconv" in error.remedy


@pytest.mark.parametrize("name", ["q.csv", "q.json"])
def test_a_word_that_is_not_utf8_is_shown(tmp_path, name):
    text = "question,context,answer,is_impossible\nQ,10,10,nö\n"
    if name == "q.json":
        text = '[{"question": "Q", "context": "10", "answer": "10", "is_impossible": "nö"}]'
    (tmp_path / name).write_bytes(text.encode("cp1252"))
    assert "is_impossible holds 'n\\\\xf6'" in refusal(tmp_path / name).problem


@pytest.mark.parametrize(
    ("context", "text", "offset", "expected"),
    [
        ("Zürich: 10 cafés", "cafe\u0301s", 11, ("cafés", 11)),  # composed otherwise
        ("Zu\u0308rich: 10", "Zürich", 0, ("Zu\u0308rich", 0)),
        ("It has 10\u00a0cafés.", "10 cafés", 7, ("10\u00a0cafés", 7)),
        ("It has\r\n10", "has\n10", 3, ("has\r\n10", 3)),
        ("It’s 10", "It's", 0, ("It’s", 0)),
        ("It has \u200e10\u200f.", "\u200e10\u200f", 7, ("10", 8)),  # marks of direction
        ("Zürich ü 10, 2", "10", 11, ("10", 9)),  # counted in bytes
        ("\U0001f600\U0001f600 or 10", "10", 8, ("10", 6)),  # in UTF-16 units, as JavaScript does
        ("a\r\nb\r\n10", "10", 4, ("10", 6)),  # line ends as one character
    ],
)
def test_an_offset_is_taken_as_it_is_meant(tmp_path, context, text, offset, expected):
    answers = [{"text": text, "answer_start": offset}]
    loaded = load(
        as_json(tmp_path / "q.json", squad(ASKED | {"answers": answers}, context=context))
    )
    assert content(loaded)[0][3] == [expected]
    assert sum(loaded.notes.values()) == 1  # what was changed is told


def test_a_blank_that_the_offset_does_not_count_is_cut_off(tmp_path):
    answers = [{"text": " 10", "answer_start": 11}]
    loaded = load(as_json(tmp_path / "q.json", squad(ASKED | {"answers": answers})))
    assert content(loaded)[0][3] == [("10", 11)] and loaded.notes["offsets mended"] == 1


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (normalize("NFD", "수도는 서울이다"), "서울"),  # as macOS writes it
        ("hit \u0627\u0653 so", "\u0622"),
        ("is \u0644\u0651\u064e so", "\u0644\u064e\u0651"),  # marks in another order
        ("is „Ann“ so", '"Ann"'),
    ],
)
def test_another_form_of_unicode_is_found(tmp_path, context, text):
    [(_, _, read, [(found, begin)])] = content(
        load(as_json(tmp_path / "q.json", [ROW | {"context": context, "answers": [text]}]))
    )
    assert read[begin:].startswith(found) and found in context.split()[1]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [("4,00", 4), ("+4.0", 4), (" 4 ", 4), ("nan", 0), ("-", 0)]
    + [(each, None) for each in ("(4, 6)", "1 004", "4.000", "4-6", "4;6", "4e0", "4.5", "four")],
)
def test_an_offset_in_words_is_a_whole_number_or_a_fault(tmp_path, offset, expected):
    text = f'question,context,answer,answer_start\nQ,10, 10,10,"{offset}"\n'.replace("10, ", "10; ")
    (tmp_path / "q.csv").write_text(text)
    if expected is None:
        error = refusal(tmp_path / "q.csv")
        assert "an answer's offset is no whole number (id 'row-0', answers: '10' at ?)" in (
            error.problem
        )
        loaded = load(tmp_path / "q.csv", columns="answer_start=")
        assert content(loaded)[0][3] == [("10", 0)]
    else:
        assert content(load(tmp_path / "q.csv"))[0][3] == [("10", expected)]


@pytest.mark.parametrize("offset", [12, 10, 3, 10**12])
def test_an_offset_that_means_nothing_is_a_fault(tmp_path, offset):
    """To look for the answer would hide that text and context do not belong together."""
    answers = [{"text": "10", "answer_start": offset}]
    asked = squad(ASKED | {"answers": answers}, context="Zürich ü 10, 2")
    error = refusal(as_json(tmp_path / "q.json", asked))
    assert f"does not stand at its offset in the context (id '1', answers: '10' at {offset})" in (
        error.problem
    )


@pytest.mark.parametrize("num_bytes", range(40, 80, 4))
def test_items_are_whole_wherever_a_piece_of_the_file_ends(num_bytes, monkeypatch):
    monkeypatch.setattr(json_stream, "_WINDOW_BYTES", num_bytes)
    rows = [ROW | {"question": f"\U0001f600é {number}?", "n": number} for number in range(5)]
    document = {"version": "x", "data": rows}
    for indent in (None, 3):
        content = json.dumps(document, ensure_ascii=False, indent=indent).encode()
        assert list(json_stream.streamed(pa.py_buffer(content))) == rows
        with pytest.raises(ValueError):
            list(json_stream.streamed(pa.py_buffer(content[:-1])))


def test_scripts_from_right_to_left_are_texts_like_others(tmp_path):
    arabic = {"text": "القاهرة", "answer_start": 13}
    asked = article(ASKED | {"answers": [arabic]}, context="عاصمة مصر هي القاهرة.")
    assert content(load(as_json(tmp_path / "q.json", [asked])))[0][3] == [("القاهرة", 13)]


@pytest.mark.parametrize("name", ["q.json", "q.jsonl", "q.csv", "q.parquet", "q.arrow", "q.xlsx"])
def test_an_empty_file_is_named(tmp_path, name):
    (tmp_path / name).touch()
    assert f"{name} is empty" in refusal(tmp_path / name).problem
