"""What stands beside questions and looks like a part of them: flags, annotations, passages."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import json_files, read_questions
from tests.support.question_files import (
    ASKED,
    BERLIN,
    BRIDGE,
    READ,
    ROW,
    TEN,
    as_json,
    content,
    load,
    refusal,
    squad,
)

UUIDS = pa.array([b"1" * 16, b"1" * 16, b"2" * 16], pa.binary(16)).cast(pa.uuid())


@pytest.mark.parametrize("name", ["no_answer", "is_answerable"])
def test_a_column_that_only_seems_to_say_it_can_be_left_out(tmp_path, name):
    path = as_json(tmp_path / "q.json", [ROW | {"answers": ["10"], name: 0.1}])
    error = refusal(path)
    assert f"{name} holds '0.1'" in error.problem and "is_impossible=" in error.remedy
    what = "is_impossible" if name == "no_answer" else name
    assert content(load(path, "eval", columns=f"{what}="))[0][3] == [("10", 11)]
    read = read_questions(str(path), DataSettings())  # which needs none of them
    assert [row["question"] for row in read] == ["How many?"]


@pytest.mark.parametrize(
    ("word", "expected"), [("x", True), ("WAHR", True), ("falsch", False), ("-", False)]
)
def test_marks_of_workbooks_are_read(tmp_path, word, expected):
    row = ROW | {"answers": [] if expected else ["10"], "is_impossible": word}
    loaded = load(as_json(tmp_path / "q.json", [row]), version="2.0")
    assert bool(loaded.has_unanswerable) == expected


def test_an_id_of_the_passage_is_no_id_of_the_questions(tmp_path):
    rows = [{"uuid": each, **ROW, "answers": ["10"]} for each in ("a", "a", "b")]
    for row in rows:
        del row["id"]
    loaded = load(as_json(tmp_path / "q.json", rows))
    assert loaded.table["id"].to_pylist() == ["row-0", "row-1", "row-2"]
    loaded = load(as_json(tmp_path / "r.json", rows[1:]))
    assert loaded.table["id"].to_pylist() == ["a", "b"]
    table = pa.Table.from_pylist(rows)
    for number, column in enumerate([table["uuid"].dictionary_encode(), UUIDS]):
        pq.write_table(table.set_column(0, "uuid", column), tmp_path / f"{number}.parquet")
        loaded = load(tmp_path / f"{number}.parquet")
        assert loaded.table["id"].to_pylist() == ["row-0", "row-1", "row-2"]


@pytest.mark.parametrize(
    "annotations",
    [
        {"entities": [{"text": "Berlin", "start": 0, "end": 6, "label": "LOC"}]},
        {"citations": [{"start": 0, "end": 3}]},
    ],
)
def test_a_paragraph_with_annotations_alone_has_no_questions(tmp_path, annotations):
    document = squad(ASKED | {"answers": [TEN]})
    document["data"][0]["paragraphs"].append({"context": BRIDGE, **annotations})
    loaded = load(as_json(tmp_path / "q.json", document))
    assert content(loaded) == READ and not loaded.num_quarantined


@pytest.mark.parametrize("answers", [{"answer": "10"}, {"answers": [{"text": "10"}]}])
def test_where_a_passage_stands_is_not_where_answers_do(tmp_path, answers):
    part = {"context": BERLIN, "start": 480, "end": 520, "qas": [ASKED | answers]}
    path = as_json(tmp_path / "q.json", {"data": [{"title": "T", "paragraphs": [part]}]})
    assert content(load(path)) == READ


@pytest.mark.parametrize("large_bytes", [0, 1 << 20])
def test_a_list_of_passages_beside_data_is_no_second_list(tmp_path, large_bytes, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGE_BYTES", large_bytes)
    document = {"data": [ROW | {"answers": ["10"]}], "passages": [{"pid": 1, "passage": BERLIN}]}
    assert content(load(as_json(tmp_path / "q.json", document), "eval")) == READ
