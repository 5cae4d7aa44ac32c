"""Several columns of one meaning: each fills the gaps of others, or the row is named."""

from __future__ import annotations

import json
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import golds, load_questions, read_questions
from qa_lib.errors import DataError
from tests.support.question_files import BERLIN, TEN, as_json, as_lines, content, load, refusal

ASKED = {"question": "Q", "context": BERLIN}
FIRST, SECOND = {"answers": ["10"]}, {"answer": "mayor"}
FILLED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (FIRST | {"answer": "10"}, SECOND | {"answers": []}),
    (FIRST | {"answer": None}, SECOND | {"answers": None}),
    ({"answers": [TEN], "answer": "10"}, SECOND | {"answers": [{"text": "", "answer_start": -1}]}),
    ({"answers": ["10"], "answer_text": ""}, {"answers": [" "], "answer_text": "mayor"}),
    ({"answers": ["10"], "answer": "NULL"}, {"answers": ["NULL"], "answer": "mayor"}),
]


@pytest.mark.parametrize("rows", FILLED)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_answers_of_two_columns_fill_each_others_gaps(tmp_path, rows, split):
    rows = [ASKED | row for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    for path in (as_lines(tmp_path / "q.jsonl", *rows), tmp_path / "q.parquet"):
        assert [row[3] for row in content(load(path, split))] == [[("10", 11)], [("mayor", 34)]]


def test_of_answers_that_agree_those_with_offsets_count_or_the_more_of_them(tmp_path):
    context = "10 or 10, ten"
    rows = [
        {"answers": ["10"], "answer": {"text": ["10"], "answer_start": [6]}},
        {"answers": ["10"], "answer": {"text": ["10", "ten"], "answer_start": [6, 10]}},
        {"answers": ["10", "ten"], "answer": {"text": ["10"], "answer_start": None}},
    ]
    pq.write_table(
        pa.Table.from_pylist([ASKED | {"context": context} | row for row in rows]),
        tmp_path / "q.parquet",
    )
    assert [row[3] for row in content(load(tmp_path / "q.parquet", "eval"))] == [
        [("10", 6)],
        [("10", 6), ("ten", 10)],
        [("10", 0), ("ten", 10)],
    ]


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("answers", {"answers": ["10"], "answer": "mayor"}),
        ("context", {"passage": "A mayor has 10."}),
        ("question", {"query": "How many?"}),
    ],
)
def test_different_values_are_named_by_their_row(tmp_path, what, changes):
    rows = [ASKED | {"answers": ["10"]}, ASKED | {"answers": ["10"]} | changes]
    first, second = what, list(changes)[-1]
    path = as_json(tmp_path / "q.json", rows)
    error = refusal(path)
    assert f"row 1 (counted from 0) has different values in {first} and {second}" in error.problem
    assert f"--data.columns, such as {what}={first}." in error.remedy
    assert len(load(path, columns=f"{what}={first}")) == 2


@pytest.mark.parametrize("empty", [None, " "])
def test_texts_of_two_columns_fill_each_others_gaps(tmp_path, empty):
    rows = [
        {"context": BERLIN, "passage": f" {BERLIN}", "question": "Q", "answer": "10"},
        {"context": empty, "passage": BERLIN, "query": "Q", "answer": "10", "title": "T"},
        {"context": BERLIN, "question": "Q", "answer": "10", "document_title": "D", "title": "T"},
        {"context": BERLIN, "question": "Q", "answer": "10", "document_title": "D"},
    ]
    loaded = load(as_json(tmp_path / "q.json", rows))
    assert [row[1:3] for row in content(loaded)] == [("Q", BERLIN)] * 4
    assert loaded.table["title"].to_pylist()[1:] == ["T", "T", "D"]


@pytest.mark.parametrize("rest", [{"no_answer": True}, {"no_answer": True, "is_impossible": None}])
def test_any_column_that_says_so_makes_a_question_unanswerable(tmp_path, rest):
    rows = [ASKED | FIRST | {"is_impossible": False, "no_answer": False}]
    rows.append(ASKED | {"is_impossible": False, "answers": None} | rest)
    path = as_json(tmp_path / "q.json", rows)
    assert [row[3] for row in content(load(path))] == [[("10", 11)], []]
    rows[1]["answers"] = ["10"]
    assert f"row 1: {golds.CONTRADICTION}" in refusal(as_json(path, rows)).problem


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_blank_rows_count_where_rows_are_named(tmp_path, suffix):
    blank = dict.fromkeys((*ASKED, "answer"))
    rows = [blank, ASKED | {"answer": "10"}, blank, blank, ASKED | {"answer": "zzz"}, blank]
    path = tmp_path / f"q{suffix}"

    def write() -> None:
        frame = pandas.DataFrame(rows)
        (frame.to_csv if suffix == ".csv" else frame.to_excel)(path, index=False)

    write()
    assert f"row 4: {golds.NOT_FOUND}" in refusal(path).problem
    settings = DataSettings(source=str(path), bad_row_limit=0.5)
    load_questions(settings, "train", quarantine_dir=str(tmp_path))
    assert json.loads((tmp_path / "quarantine-train.jsonl").read_text())["row"] == 4
    rows[4]["question"] = None
    write()
    with pytest.raises(DataError, match=r"row 4 \(counted from 0\): the question is missing"):
        read_questions(str(path), DataSettings())
    rows[4]["question"] = "Q"
    rows = [row | {"query": "How many?" if row is rows[4] else None} for row in rows]
    write()
    assert "row 4 (counted from 0) has different values in question" in refusal(path).problem


def test_the_quarantine_shows_an_offset_that_is_no_number_as_such(tmp_path):
    text = "question,context,answer,answer_start\nQ,Berlin has 10,10,11-12\nQ,Berlin has 10,10,11\n"
    (tmp_path / "q.csv").write_text(text)
    data = DataSettings(source=str(tmp_path / "q.csv"), bad_row_limit=1)
    load_questions(data, "train", quarantine_dir=str(tmp_path))
    row = json.loads((tmp_path / "quarantine-train.jsonl").read_text())
    assert row["answers"] == {"text": ["10"], "answer_start": ["?"]}
