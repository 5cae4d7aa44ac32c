"""What a JSON document holds besides questions in one form: several lists, parts that differ."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.data import json_files
from tests.support.question_files import (
    ASKED,
    BERLIN,
    BRIDGE,
    LISTS,
    READ,
    ROW,
    TEN,
    article,
    as_json,
    as_lines,
    content,
    load,
    refusal,
    squad,
)

PARTS = article(ASKED | {"answers": [TEN]})


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (
            {"question": ["a", "b"], "context": [BERLIN], "answer": ["10", "x"]},
            "question 2, context 1",
        ),
        (
            [{"context": BERLIN, "qas": {"question": ["a", "b"], "id": ["1"]}}],
            "question, id differ",
        ),
        (
            {"columns": ["question", "context"], "data": [["Q", BERLIN, "10"]]},
            "match its columns: ['Q'",
        ),
    ],
)
def test_lists_that_differ_in_length_are_not_cut_to_the_shortest(tmp_path, document, named):
    assert named in refusal(as_json(tmp_path / "q.json", document)).problem


def test_rows_of_pandas_columns_are_told_by_their_numbers(tmp_path):
    columns = {"question": {"a": "How many?", "b": "Who?"}, "context": {"b": BRIDGE, "a": BERLIN}}
    columns |= {"answer": {"b": "Ann", "a": "10"}}
    path = as_json(tmp_path / "q.json", columns)
    assert [row[1:] for row in content(load(path))] == [
        READ[0][1:],
        ("Who?", BRIDGE, [("Ann", 0)]),
    ]
    columns["answer"]["c"] = columns["answer"].pop("b")
    assert "columns of different rows: answer" in refusal(as_json(path, columns)).problem


def test_an_articles_id_is_not_that_of_its_questions_and_its_title_may_be_a_number(tmp_path):
    asked = [{"question": f"{number}?", "answers": [TEN]} for number in range(2)]
    document = [{"_id": "a", "title": 5} | article(*asked)]
    rows = load(as_json(tmp_path / "q.json", document)).table
    assert rows["id"].to_pylist() == ["row-0", "row-1"]
    assert rows["title"].to_pylist() == ["5", "5"]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_file_of_other_names_tells_all_of_them(tmp_path, rows):
    path = as_lines(tmp_path / "q.jsonl", *[{"q": "How many?", "body": BERLIN, "a": "10"}] * rows)
    error = refusal(path)
    assert "q, body, a" in error.problem and "--data.columns" in error.remedy
    loaded = load(path, columns="question=q,context=body,answer=a")
    assert content(loaded) == [(f"row-{row}", *READ[0][1:]) for row in range(rows)]


def test_several_splits_in_one_file_are_named(tmp_path):
    both = {"train": squad(ASKED | {"answers": [TEN]}), "dev": [ROW | {"answers": ["10"]}]}
    error = refusal(as_json(tmp_path / "q.json", both))
    assert "several lists of questions: train, dev" in error.problem and "own" in error.remedy


@pytest.mark.parametrize("large_bytes", [0, 1 << 20])
def test_a_list_of_questions_beside_data_is_not_left_out(tmp_path, large_bytes, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGE_BYTES", large_bytes)
    document = squad(ASKED | {"answers": [TEN]}) | {"dev": [ROW | {"answers": ["10"]}]}
    path = as_json(tmp_path / "q.json", document)
    assert "several lists of questions: data, dev" in refusal(path).problem


def test_questions_under_an_unknown_name_are_not_left_out(tmp_path):
    other = {"context": BERLIN, "qa": [ASKED | {"answers": [TEN]}]}
    path = as_json(tmp_path / "q.json", {"data": [{"title": "T", "paragraphs": [other]}]})
    assert "question is missing; it has title, context, qa" in refusal(path).problem
    document = squad(ASKED | {"answers": [TEN]})
    document["data"][0]["paragraphs"].append(other)
    path = as_json(tmp_path / "q.json", document)
    assert "row 1: the question is missing" in refusal(path).problem


def test_an_article_that_is_no_object_is_named(tmp_path):
    document = {"data": [article(ASKED | {"answers": [TEN]}), None]}
    assert (
        "article 1: 'None' is not an object"
        in refusal(as_json(tmp_path / "q.json", document)).problem
    )


@pytest.mark.parametrize(
    "document",
    [
        {"train": PARTS, "dev": PARTS},  # by their ids, as it were
        {"training_set": PARTS, "validation": PARTS},
        {"data": [PARTS], "dev": {"data": [PARTS]}},
        {"train": {"version": "2.0", "data": [PARTS]}, "dev": {"version": "2.0", "data": [PARTS]}},
    ],
)
@pytest.mark.parametrize("large_bytes", [0, 1 << 20])
def test_splits_in_objects_are_named_too(tmp_path, document, large_bytes, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGE_BYTES", large_bytes)
    problem = refusal(as_json(tmp_path / "q.json", document)).problem
    assert f"several lists of questions: {', '.join(document)}" in problem


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"paragraphs": {"p1": PARTS["paragraphs"][0], "p2": PARTS["paragraphs"][0]}}, ["1", "1"]),
        ({**PARTS["paragraphs"][0], "paragraphs": []}, ["1"]),
        ({"paragraphs": [{"context": BERLIN, "qas": {"a": {"question": "?"}}}]}, ["a"]),
    ],
)
def test_an_article_of_another_form_loses_no_questions(tmp_path, second, expected):
    path = as_json(tmp_path / "q.json", {"data": [PARTS, second]})
    rows = json_files.read(pa.py_buffer(path.read_bytes()), path.name)
    assert rows["id"].to_pylist() == ["1", *expected]


def test_questions_in_two_places_are_named(tmp_path):
    both = PARTS["paragraphs"][0] | PARTS
    path = as_json(tmp_path / "q.json", {"data": [PARTS, both]})
    assert "article 1: it has both paragraphs and qas" in refusal(path).problem
    path = as_json(tmp_path / "q.json", {"a": both})
    assert "it has both paragraphs and qas" in refusal(path).problem


@pytest.mark.parametrize("rows", [1, 2])
def test_a_list_of_a_row_is_not_taken_for_its_rows(tmp_path, rows):
    row = {"body": BERLIN, "question": "How many?", "spans": [{"start": 11, "text": "10"}]}
    path = as_lines(tmp_path / "q.jsonl", *[row] * rows)
    loaded = load(path, columns="context=body,answer=spans")
    assert [row[1:] for row in content(loaded)] == [READ[0][1:]] * rows
    tokens = {"context": BERLIN.split(), "question": "How many?", "answer": "10"}
    path = as_lines(tmp_path / "t.jsonl", *[tokens] * rows)
    assert "context is list<item: string>, not text; it has context, q" in refusal(path).problem


@pytest.mark.parametrize(
    ("golds", "expected"),
    [
        ({"text": ["10"], "answer_start": 44}, 44),
        ({"text": "10", "answer_start": [44]}, 44),
        ({"text": "10"}, 11),
        ({"text": ["10", "10"], "answer_start": [44]}, None),
    ],
)
def test_golds_of_rows_that_differ_are_those_of_each(tmp_path, golds, expected):
    row = {**ROW, "context": f"{BERLIN} Or 10."}
    others = [row | {"id": "2", "answers": [TEN]}, row | {"id": "3", "answers": LISTS}]
    path = as_lines(tmp_path / "q.jsonl", row | {"answers": golds}, *others)
    if expected is None:
        assert "answer texts and offsets differ in number" in refusal(path).problem
    else:
        assert [gold[0][1] for *_, gold in content(load(path))] == [expected, 11, 11]


def test_an_empty_list_gives_way_to_a_filled_column(tmp_path):
    path = as_lines(tmp_path / "q.jsonl", ROW | {"answers": [], "answer": "10"})
    assert content(load(path)) == READ


@pytest.mark.parametrize("large_bytes", [0, 1 << 20])
def test_objects_beside_a_list_of_columns_are_rows(tmp_path, large_bytes, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGE_BYTES", large_bytes)
    document = {"columns": [*ROW, "answer"], "data": [ROW | {"answer": "10"}]}
    for keys in ("columns", "data"), ("data", "columns"):
        path = as_json(tmp_path / "q.json", {key: document[key] for key in keys})
        assert content(load(path, "eval")) == READ
    document = {"columns": ["question", "context", "answer"], "data": ["abc"]}
    assert "does not match its columns: abc" in refusal(as_json(path, document)).problem


@pytest.mark.parametrize("num_rows", [1, 2])
def test_rows_of_the_hubs_viewer_may_stand_on_lines(tmp_path, num_rows):
    rows = [
        {"row_idx": n, "row": ROW | {"id": str(n + 1), "answers": [TEN]}, "truncated_cells": []}
        for n in range(num_rows)
    ]
    for path in (as_lines(tmp_path / "q.jsonl", *rows), as_json(tmp_path / "q.json", rows)):
        assert [id_ for id_, *_ in content(load(path))] == [str(n + 1) for n in range(num_rows)]
        assert content(load(path))[:1] == READ


def test_rows_that_the_hubs_viewer_cut_off_are_refused(tmp_path):
    row = {"row_idx": 3, "row": ROW | {"answers": [TEN], "html": "<p"}, "truncated_cells": ["html"]}
    assert content(load(as_json(tmp_path / "q.json", {"features": [], "rows": [row]}))) == READ
    row["truncated_cells"] = ["context"]
    documents = as_json(tmp_path / "q.json", {"rows": [row]}), as_lines(tmp_path / "q.jsonl", row)
    for path in documents:
        error = refusal(path)
        assert "row 3 was cut off by the hub's viewer in context" in error.problem
        assert "--data.source OWNER/NAME" in error.remedy


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_a_column_whose_name_has_a_dot_is_named_by_the_user(tmp_path, suffix):
    row = {"context": BERLIN, "my.question": "How many?", "my.gold": {"text": "10"}}
    path = tmp_path / f"q{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        (as_json(path, [row]) if suffix == ".json" else as_lines(path, row))
    columns = "question=my.question,answer=my.gold.text"
    assert content(load(path, columns=columns))[0][1:] == READ[0][1:]
    error = refusal(path, columns="question=my.query")
    assert "no column my.query" in error.problem
    assert "it has context, my.question, my.gold" in error.problem


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 2.0, "question": "Q", "context": "It is 1.50 EUR", "answer": 1.50}',
        '{"id": 2.0, "question": "Q", "context": "It is 1.50 EUR", "answer": 1.50,'
        ' "answer_start": 6.0}\n{"id": 3, "question": "Q", "context": "No.", "answer": "No"}',
        '[{"id": 2.0, "question": "Q", "context": "It is 1.50 EUR", "answers": [1.50],'
        ' "is_impossible": 0.0}]',
        '{"data": [{"paragraphs": [{"context": "It is 1.50 EUR", "qas": [{"id": 2.0, "question":'
        ' "Q", "answers": [{"text": 1.50, "answer_start": 6.0}]}]}]}]}',
        '{"id": {"0": 2.0}, "question": {"0": "Q"}, "context": {"0": "It is 1.50 EUR"},'
        ' "answer": {"0": 1.50}}',
    ],
)
@pytest.mark.parametrize("large_bytes", [1 << 23, 1])
def test_a_number_of_json_stays_as_it_is_spelled(tmp_path, text, large_bytes, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGE_BYTES", large_bytes)
    (tmp_path / "q.json").write_text(text)
    assert content(load(tmp_path / "q.json"))[0] == ("2.0", "Q", "It is 1.50 EUR", [("1.50", 6)])


def test_a_number_after_many_lines_without_one_stays_as_it_is_spelled(tmp_path):
    rows = [{"question": "Q", "context": "No.", "answers": ["No"]}] * 70
    last = '{"question": "Q", "context": "It is 1.50 EUR", "answer": 1.50}'
    (tmp_path / "q.jsonl").write_text("\n".join([*map(json.dumps, rows), last]))
    assert content(load(tmp_path / "q.jsonl"))[70][3] == [("1.50", 6)]
