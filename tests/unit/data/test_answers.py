"""Answers and their offsets, however they are named, nested and left out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.data import golds
from tests.support.question_files import (
    ASKED,
    BERLIN,
    READ,
    ROW,
    TEN,
    as_json,
    as_lines,
    content,
    load,
    refusal,
    squad,
)

TWICE = "abc abc"


def as_csv(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def cells(path: Path, *answers: str, context: str = BERLIN, **others: Any) -> Path:
    asked = {"question": "?", "context": context}
    return as_csv(path, *(asked | {"answer": answer} | others for answer in answers))


def all_golds(*args: Any, **settings: Any) -> list[list[tuple[str, int]]]:
    return [gold for *_, gold in content(load(*args, **settings))]


# -- no answer


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize("word", ["NULL", "nan", r"\N", "None", "NA"])
def test_a_word_for_null_beside_plain_answers_is_no_gold(tmp_path, split, word):
    path = cells(tmp_path / "q.csv", "10", "mayor", word)
    error = refusal(path, split)
    assert f"row 2: {golds.EMPTY}" in error.problem or f"row 2: {golds.NO_GOLD}" in error.problem
    assert "unanswerable (is_impossible true, no answers)" in error.remedy
    said = [{"is_impossible": value} for value in (False, True)]
    rows = [{"question": "?", "context": BERLIN, "answer": each} for each in ("10", word)]
    path = as_csv(path, *(row | each for row, each in zip(rows, said, strict=True)))
    assert all_golds(path, split) == [[("10", 11)], []]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_word_for_null_that_stands_in_its_context_is_a_gold(tmp_path, split):
    path = cells(tmp_path / "q.csv", "NULL", "10", context="A pointer is NULL, or 10.")
    assert all_golds(path, split) == [[("NULL", 13)], [("10", 22)]]
    path = cells(tmp_path / "r.csv", "nan", "10", context="The 10 finances")
    assert "row 0" in refusal(path, split).problem


def test_a_word_for_null_beside_another_gold_counts_in_evaluation(tmp_path):
    path = as_json(tmp_path / "q.json", [ROW | {"answers": ["10", "None"]}])
    assert all_golds(path, "eval") == [[("10", 11), ("None", -1)]]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_list_beside_plain_answers_is_read(tmp_path, split):
    answers = ("10", "mayor", "[]", '["one"]', "{'text': ['one'], 'answer_start': [30]}")
    ten, mayor, one = ("10", 11), ("mayor", 34), ("one", 30)
    path = cells(tmp_path / "q.csv", *answers, "10", "10", "10")
    assert all_golds(path, split) == [[ten], [mayor], [], [one], [one], [ten], [ten], [ten]]
    path = cells(tmp_path / "r.csv", "[1]", "10", "10", context="10 inhabitants [1]")
    assert all_golds(path, split) == [[("[1]", 15)], [("10", 0)], [("10", 0)]]


def test_a_list_beside_plain_answers_leaves_their_offsets(tmp_path):
    path = tmp_path / "q.csv"
    asked = {"question": "?", "context": TWICE}
    rows = [asked | {"answer": "abc", "answer_start": 4}] * 3
    as_csv(path, *rows, asked | {"answer": '["abc"]', "answer_start": "[4]"})
    assert all_golds(path) == [[("abc", 4)]] * 4


def test_bytes_that_are_not_utf8_beside_a_list_are_the_fault_of_their_row(tmp_path):
    path = cells(tmp_path / "q.csv", "10", "10", '["one"]', "Z!rich")
    path.write_bytes(path.read_bytes().replace(b"!", b"\xfc"))
    loaded = load(path, bad_row_limit=0.25)
    assert (len(loaded), loaded.num_quarantined) == (3, 1)


# -- offsets


OFFSETS: dict[str, dict[str, Any]] = {
    "ThaiQA": {"answers": {"answer": ["abc"], "answer_begin_position": [4]}},
    "a list of golds": {"answers": [{"text": "abc", "begin_position": 4}]},
    "a name that says so": {"answers": [{"text": "abc", "char_begin_offset": 4}]},
    "flat": {"answer": "abc", "offset": 4},
    "flat position": {"answer": "abc", "start_position": 4},
    "flat index": {"answer": "abc", "start_index": 4},
    "a span": {"answer": "abc", "answer_span": [4, 7]},
    "spans": {"answers": {"text": ["abc"], "answer_span": [[4, 7]]}},
    "a gold's span": {"answers": [{"text": "abc", "answer_span": [4, 7]}]},
}


@pytest.mark.parametrize("form", OFFSETS)
def test_offsets_of_other_names_are_read(tmp_path, form):
    row = {"question": "?", "context": TWICE} | OFFSETS[form]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "q.parquet")
    as_json(tmp_path / "q.json", [row])
    for name in ("q.parquet", "q.json"):
        assert all_golds(tmp_path / name) == [[("abc", 4)]]


def test_numbers_of_other_things_are_no_offsets(tmp_path):
    gold = {"text": "10", "start_token": 2, "end_offset": 13, "byte_start": 9, "id": 7}
    assert all_golds(as_json(tmp_path / "q.json", [ROW | {"answers": [gold]}])) == [[("10", 11)]]
    row = ROW | {"offset": 480, "answer_text": "10", "answer_start": 11}
    assert all_golds(as_json(tmp_path / "r.json", [row])) == [[("10", 11)]]


@pytest.mark.parametrize("start", ["11-13", 12])
def test_offsets_inside_of_answers_can_be_left_out(tmp_path, start):
    """As the error about them says."""
    gold = {"text": "10", "answer_start": start}
    row = ROW | {"answers": {"text": ["10"], "answer_start": [start]}}
    paths = [
        as_json(tmp_path / "nested.json", squad(ASKED | {"answers": [gold]})),
        as_json(tmp_path / "rows.json", [row]),
        as_lines(tmp_path / "q.jsonl", row),
        as_csv(tmp_path / "q.csv", row | {"answers": str(row["answers"])}),
    ]
    for path in paths:
        assert "--data.columns answer_start=" in refusal(path).remedy
        assert content(load(path, columns="answer_start=")) == READ


@pytest.mark.parametrize("number", [11, "11"])
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_pairs_of_offset_and_text_are_golds(tmp_path, number, suffix):
    context = "On day 19 Berlin has 19 inhabitants."
    rows = [
        {"question": "?", "context": context, "answers": [[int(at) + 10, "19"], [24, "inh"]]}
        for at in (number, number)
    ]
    for row in rows:
        row["answers"] = [[type(number)(at), text] for at, text in row["answers"]]
    path = tmp_path / f"q{suffix}"
    if suffix == ".csv":
        as_csv(path, *(row | {"answers": json.dumps(row["answers"])} for row in rows))
    else:
        (as_json(path, rows) if suffix == ".json" else as_lines(path, *rows))
    assert all_golds(path) == [[("19", 21), ("inh", 24)]] * 2


TENS = "10 and 20 and 10 more."


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize(
    "gold", [[14, "10"], ["14", "10"], ["10", 14], [14, 16, "10"], ["10", "14", "16"]]
)
def test_a_gold_and_its_offset_in_one_list_are_one_gold(tmp_path, gold, suffix):
    rows = [{"question": "?", "context": TENS, "answers": gold} for _ in range(2)]
    path = tmp_path / f"q{suffix}"
    if suffix == ".csv":
        as_csv(path, *(row | {"answers": json.dumps(row["answers"])} for row in rows))
    elif suffix == ".parquet":
        texts = [row | {"answers": list(map(str, row["answers"]))} for row in rows]
        pq.write_table(pa.Table.from_pylist(texts), path)
    else:
        (as_json(path, rows) if suffix == ".json" else as_lines(path, *rows))
    assert all_golds(path) == [[("10", 14)]] * 2
    assert [row[3] for row in content(load(path, "eval"))] == [[("10", 14)]] * 2


def test_two_golds_are_no_pair_because_one_happens_to_stand_at_the_other(tmp_path):
    row = {"question": "?", "context": "The 4 or four seasons."}
    rows = [row | {"answers": ["4", "4 or"]}, row | {"answers": ["4", "seasons"]}]
    path = as_json(tmp_path / "q.json", rows)
    assert [len(row[3]) for row in content(load(path, "eval"))] == [2, 2]


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "10", "span": [14, 16]}],
        {"text": ["10"], "spans": [[14, 16]]},
        [{"answer": "10", "offsets_in_context": [{"start": 14, "end": 16}]}],
        [{"text": "10", "answer_start": [14, 0]}],  # where it occurs
        {"text": ["10"], "answer_start": [[14]]},
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_spans_say_where_golds_begin(tmp_path, answers, suffix):
    row = {"question": "?", "context": TENS, "answers": answers}
    path = tmp_path / f"q{suffix}"
    if suffix == ".json":
        as_json(path, [row])
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    assert all_golds(path) == [[("10", 14)]]


@pytest.mark.parametrize(
    "spans", ["and 10", [2, 3], ["and", "10"], {"start_token": 2}, {"start": "x"}, None]
)
@pytest.mark.parametrize("name", ["span", "spans"])
def test_spans_of_tokens_or_texts_are_no_offsets(tmp_path, spans, name):
    golds = [{"text": "10", name: spans}, {"text": "20", name: spans}]
    row = {"question": "?", "context": TENS, "answers": golds}
    assert all_golds(as_json(tmp_path / "q.json", [row])) == [[("10", 0), ("20", 7)]]
    row["answers"] = {"text": ["10", "20"], name: [spans, spans]}
    assert all_golds(as_json(tmp_path / "q.json", [row])) == [[("10", 0), ("20", 7)]]


@pytest.mark.parametrize("cell", ["[11, 13]", '["11", "13"]', "[11.0, 13.0]"])
def test_a_span_may_be_of_any_numbers(tmp_path, cell):
    asked = {"question": "?", "context": "10 or 10? 10", "answer": "10"}
    row = {**asked, "context": "10, 20 and 10 again.", "answer_span": cell}
    assert all_golds(as_csv(tmp_path / "q.csv", row)) == [[("10", 11)]]
    inside = asked | {"context": row["context"], "answer": f'{{"text": "10", "span": {cell}}}'}
    assert all_golds(as_csv(tmp_path / "q.csv", inside)) == [[("10", 11)]]


def test_a_gold_with_a_span_stands_beside_rows_without_golds(tmp_path):
    rows = [
        ROW | {"id": "a", "answers": {"text": "10", "span": [11, 13]}},
        ROW | {"id": "b", "answers": [], "is_impossible": True},
        ROW | {"id": "c", "answers": "one"},
    ]
    loaded = load(as_json(tmp_path / "q.json", rows), version="2.0")
    assert [row[3] for row in content(loaded)] == [[("10", 11)], [], [("one", 30)]]


@pytest.mark.parametrize(
    "labels",
    [
        [{"start": 0, "end": 6}],  # an entity
        [{"start": [11], "end": [12]}, {"start": [30], "end": [32]}],  # more than there are golds
        [{"start": [0], "end": [6]}],  # where the gold does not stand
    ],
)
def test_labels_of_something_else_are_no_offsets(tmp_path, labels):
    path = tmp_path / "q.parquet"
    pq.write_table(pa.Table.from_pylist([ROW | {"answers": ["10"], "labels": labels}]), path)
    assert all_golds(path) == [[("10", 11)]]


def test_blank_golds_and_numbers_of_the_context_make_no_pair(tmp_path):
    path = as_json(tmp_path / "q.json", [ROW | {"answers": ["10", ""]}])
    assert all_golds(path) == [[("10", 11)]]
    row = {"question": "?", "context": "7 2 0 0 years", "answers": ["0", "7"]}
    assert content(load(as_json(tmp_path / "q.json", [row]), "eval"))[0][3] == [("0", 4), ("7", 0)]


def test_a_dash_is_no_answer_though_the_context_has_one(tmp_path):
    context = "A well-known city has 10 people - or so."
    rows = [
        {"question": "?", "context": context, "answer": "-", "answerable": "N"},
        {"question": "?", "context": context, "answer": "10", "answerable": "Y"},
    ]
    loaded = load(as_json(tmp_path / "q.json", rows), version="2.0")
    assert [row[3] for row in content(loaded)] == [[], [("10", 22)]]


def test_a_key_is_an_id_of_tables_alone(tmp_path):
    rows = [ROW | {"answers": [TEN]}]
    document = {"key": "abc", "data": {"train": rows}}
    assert all_golds(as_json(tmp_path / "q.json", document)) == [[("10", 11)]]
    path = as_csv(tmp_path / "q.csv", {"question": "?", "context": BERLIN, "answer": "10"})
    text = path.read_text().splitlines()
    path.write_text(f"Key,key,{text[0]}\nx,y,{text[1]}\n")
    assert all_golds(path) == [[("10", 11)]]


def test_the_tables_of_mrqa_on_the_hub_say_where_golds_begin(tmp_path):
    labels = [{"start": [14, 0], "end": [15, 1]}, {"start": [7], "end": [8]}]
    rows = [
        {"context": TENS, "question": "?", "answers": ["10", "20"], "key": key, "labels": labels}
        for key in ("a", "b")
    ]
    path = tmp_path / "q.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    for columns in (None, "answer_start=labels.start"):
        loaded = content(load(path, columns=columns))
        assert [(row[0], row[3]) for row in loaded] == [
            (key, [("10", 14), ("20", 7)]) for key in ("a", "b")
        ]
    pq.write_table(pa.Table.from_pylist([row | {"labels": ["x"]} for row in rows]), path)
    assert content(load(path))[0][3] == [("10", 0), ("20", 7)]  # labels of something else


def test_a_pair_whose_offset_does_not_fit_is_refused_by_its_row(tmp_path):
    row = {"question": "?", "context": "On day 19 Berlin has 10 inhabitants."}
    path = as_csv(tmp_path / "q.csv", row | {"answers": '[[19, "inhabitants"]]'})
    for split in ("train", "eval"):
        error = refusal(path, split)
        assert "row 0 (counted from 0) has [19, 'inhabitants']" in error.problem
        assert "--data.columns answer_start=" in error.remedy
    assert all_golds(path, columns="answer_start=") == [[("inhabitants", 24)]]


def test_golds_of_annotators_are_no_pairs(tmp_path):
    answers = [[["10", "one"]], [["one", "10"]]]
    path = as_json(
        tmp_path / "q.json",
        [ROW | {"id": str(n), "answers": each} for n, each in enumerate(answers)],
    )
    ten, one = ("10", 11), ("one", 30)
    assert all_golds(path) == [[ten, one], [one, ten]]


def test_an_answer_of_no_known_form_is_named_by_its_row(tmp_path):
    path = as_json(
        tmp_path / "q.json", [ROW | {"answers": [TEN]}, ROW | {"answers": [[[["x"], 1]]]}]
    )
    assert "wrong type in answers: row 1 (counted from 0), [[[['x'], 1]]]" in refusal(path).problem
