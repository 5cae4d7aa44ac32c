"""Forms of tables: Parquet, Arrow, CSV, TSV, workbooks; compressed files; names of columns."""

from __future__ import annotations

import datetime
import gzip
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from tests.support.question_files import (
    ASKED,
    BERLIN,
    LISTS,
    READ,
    ROW,
    TEN,
    as_lines,
    content,
    load,
    refusal,
    squad,
)

TABLES: dict[str, dict[str, Any]] = {
    "structs of lists": {"answers": LISTS},
    "lists of structs": {"answers": [TEN]},
    "lists of texts": {"answers": ["10"]},
    "one text": {"answers": "10"},
    "flat": {"answer_text": "10", "answer_start": 11},
    "flattened": {"answers.text": ["10"], "answers.answer_start": [11]},
    "integer id": {"id": 1, "answers": LISTS},
    "float offsets": {"answer": "10", "answer_start": 11.0},
    "JSON": {"answers": json.dumps(LISTS)},
    "lists as texts": {"answers": "['10']", "answer_start": "[11]"},
    "lists of annotators": {"answers": [["10"]]},
}
NESTED = {
    "articles": {
        "title": "T",
        "paragraphs": [{"context": BERLIN, "qas": [ASKED | {"answers": [TEN]}]}],
    },
    "paragraphs": {"context": BERLIN, "qas": [ASKED | {"answers": [TEN]}]},
}


@pytest.mark.parametrize("form", [*TABLES, *NESTED])
@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_arrow_tables_in_every_form(tmp_path, form, suffix):
    table = pa.Table.from_pylist([NESTED[form] if form in NESTED else ROW | TABLES[form]])
    path = tmp_path / f"q{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".feather":
        pyarrow.feather.write_feather(table, str(path))
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    assert content(load(path)) == READ


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("answers", [["10"]], pa.list_view(pa.string())),
        ("answers", ["10"], pa.string_view()),
        ("answers", [LISTS], None),
        ("answer_start", [Decimal(11)], pa.decimal128(9)),
        ("id", [UUID(int=1).bytes], pa.uuid()),
        ("id", [b"\xff\x01"], pa.binary(2)),
        ("id", [{"$oid": "1"}], None),
    ],
)
def test_arrow_types_that_other_programs_write(tmp_path, name, values, kind):
    columns = {key: [value] for key, value in (ROW | {"answers": ["10"]}).items()}
    table = pa.table(columns | {name: pa.array(values, kind)})
    with pa.ipc.new_file(str(tmp_path / "q.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert content(load(tmp_path / "q.arrow"))[0][1:] == READ[0][1:]


@pytest.mark.parametrize(
    ("fields", "is_impossible"),
    [
        ({"answer": None, "answer_start": None}, True),
        ({"answer": None, "answer_start": -1}, None),
        ({"answer": "", "answer_start": 0}, True),
        ({"answers": [], "answer_start": -1}, None),
        ({"answer": {"text": None, "answer_start": None}}, True),
        ({"answer": None}, True),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".jsonl", ".parquet"])
def test_an_offset_beside_no_text_is_no_answer(tmp_path, suffix, fields, is_impossible):
    golds = {key: {"answer_start": 11}.get(key, "10") for key in fields}
    if isinstance(fields.get("answer"), dict):
        golds = {"answer": TEN}
    elif "answers" in fields:
        golds["answers"] = ["10"]
    rows = [ROW | fields | {"is_impossible": is_impossible}, ROW | {"id": "2"} | golds]
    path = tmp_path / f"q{suffix}"
    if suffix == ".jsonl":
        as_lines(path, *rows)
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        frame = pandas.DataFrame(rows)
        frame.to_csv(path) if suffix == ".csv" else frame.to_excel(path)
    assert [gold for *_, gold in content(load(path))] == [[], [("10", 11)]]


ONE = {"text": "one", "answer_start": 30}
LONG = "10 inhabitants and one mayor."  # three of them do not fit into a line of numpy


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"text": np.array(["10"] * 2), "answer_start": np.array([11, 11])}, [("10", 11)] * 2),
        (
            {"text": np.array([LONG] * 3, object), "answer_start": np.array([11] * 3, np.int32)},
            [(LONG, 11)] * 3,
        ),
        ({"text": ["10"], "answer_start": [np.nan]}, [("10", 11)]),
        (np.array(["10", "one"], object), [("10", 11), ("one", 30)]),
        (np.array(["one", LONG, LONG, LONG], object), [("one", 30), *[(LONG, 11)] * 3]),
        (np.array([TEN, ONE], object), [("10", 11), ("one", 30)]),
        ([np.str_("10"), np.str_("one")], [("10", 11), ("one", 30)]),
        ({"text": ["10"], "answer_start": [np.int64(11)]}, [("10", 11)]),
    ],
)
def test_a_csv_of_squad_as_pandas_and_numpy_write_it(tmp_path, answers, expected):
    row = {"question": "How many?", "context": BERLIN, "answers": answers}
    pandas.DataFrame([row]).to_csv(tmp_path / "q.csv")
    assert content(load(tmp_path / "q.csv"))[0][3] == expected


@pytest.mark.parametrize("none", ["", "nan", "NaN", "None", "null"])
def test_a_word_for_null_beside_lists_is_none(tmp_path, none):
    rows = [{"question": "How many?", "context": BERLIN, "answers": ["10"], "is_impossible": False}]
    rows += [rows[0] | {"answers": none, "is_impossible": True}] * 3
    pandas.DataFrame(rows).to_csv(tmp_path / "q.csv")
    assert [gold for *_, gold in content(load(tmp_path / "q.csv"))] == [[("10", 11)], [], [], []]


def test_offsets_of_numpy_in_a_column_of_their_own(tmp_path):
    row = {"question": "How many?", "context": BERLIN, "answers": np.array(["10", "it's 'one'"])}
    starts = {"answer_start": np.array([11, -1])}
    pandas.DataFrame([row | starts]).to_csv(tmp_path / "q.csv")
    assert content(load(tmp_path / "q.csv", "eval"))[0][3] == [("10", 11), ("it's 'one'", -1)]


def test_a_cell_that_is_no_json_is_the_fault_of_its_row_only(tmp_path):
    cells = [json.dumps(LISTS), json.dumps([TEN]), "['10']", '{"text": ["10"']
    columns = {"question": ["?"] * 4, "context": [BERLIN] * 4, "answers": cells}
    pacsv.write_csv(pa.table(columns), tmp_path / "q.csv")
    loaded = load(tmp_path / "q.csv", bad_row_limit=0.25)
    assert [gold for *_, gold in content(loaded)] == [[("10", 11)]] * 3
    assert loaded.num_quarantined == 1


def test_a_column_without_values_gives_way_to_another(tmp_path):
    text = f"question,context,answers,answer\nHow many?,{BERLIN},,10\n"
    (tmp_path / "q.csv").write_text(text)
    assert content(load(tmp_path / "q.csv"))[0][2:] == READ[0][2:]


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "q.csv").write_text("question,context,answer,answer,,\na,b,c,d,,\n")
    assert "several columns of one name: answer." in refusal(tmp_path / "q.csv").problem


def test_a_column_spelled_in_two_ways_is_refused_unless_one_is_empty_or_named(tmp_path):
    table = pa.table({"Question": ["How many?"], "Context": [None], "context": [BERLIN]})
    table = table.append_column("answer", [["10"]])
    path = tmp_path / "q.parquet"
    pq.write_table(table, path)
    assert content(load(path))[0][1:] == READ[0][1:]
    pq.write_table(table.append_column("Answer", [["one"]]), path)
    assert "several columns of one name: answer, Answer." in refusal(path).problem
    assert content(load(path, columns="answer=Answer"))[0][3] == [("one", 30)]


def test_two_columns_of_one_name_are_refused_in_a_workbook(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("question", "context", "answer", "answer"), ("How many?", BERLIN, 10, 11)):
        book.active.append(row)
    book.save(tmp_path / "q.xlsx")
    assert "several columns of one name: answer." in refusal(tmp_path / "q.xlsx").problem


def test_compressed_files_are_what_they_hold(tmp_path):
    text = json.dumps(squad(ASKED | {"answers": [TEN]})).encode()
    (tmp_path / "dev.json.gz").write_bytes(gzip.compress(text[:40]) + gzip.compress(text[40:]))
    with pa.CompressedOutputStream(str(tmp_path / "train.json.zst"), "zstd") as stream:
        stream.write(text)
    assert content(load(tmp_path)) == content(load(tmp_path, "eval")) == READ
    damaged = tmp_path / "q.json.gz"
    damaged.write_bytes(gzip.compress(text)[:-20])
    assert "q.json.gz" in refusal(damaged).problem


def test_a_workbook_is_read(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("question", "context", "answer"), (42, BERLIN, 10), (None, None, " "[:0])):
        book.active.append(row)
    book.save(tmp_path / "train.xlsx")
    (answered,) = load(tmp_path).table.to_pylist()
    assert answered["answers"] == {"text": ["10"], "answer_start": [BERLIN.index("10")]}
    assert (answered["question"], answered["context"]) == ("42", BERLIN)


def test_the_sheet_that_holds_questions_is_read_and_several_are_named(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["read me first"])
    for title in ("asked", "more"):
        sheet = book.create_sheet(title)
        for row in (
            ("Survey of 2020",),
            ("question", "context", "answer"),
            ("How many?", BERLIN, 10),
        ):
            sheet.append(row)
        book.save(tmp_path / f"{title}.xlsx")
    assert content(load(tmp_path / "asked.xlsx"))[0][1:] == READ[0][1:]
    error = refusal(tmp_path / "more.xlsx")
    assert "on several sheets: asked, more" in error.problem and "file of its own" in error.remedy


def test_cells_of_a_workbook_are_read_as_they_are_meant(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(("question", "context", "answer"))
    for text, answer in (
        ("It began on 1990-05-05 in Rome.", datetime.datetime(1990, 5, 5)),
        ("Some 12.5 % came.", 0.125),
        ("By Ann_x000D_ and _x005F_x000D_.", "Ann_x000D_ and _x005F_x000D_"),
    ):
        book.active.append(("What?", text, answer))
    book.active["C3"].number_format = "0.0 %"
    book.save(tmp_path / "train.xlsx")
    golds = [row["answers"]["text"] for row in load(tmp_path).table.to_pylist()]
    assert golds == [["1990-05-05"], ["12.5 %"], ["Ann\r and _x000D_"]]


def test_a_workbook_without_a_cell_is_named(tmp_path):
    import openpyxl

    openpyxl.Workbook().save(tmp_path / "q.xlsx")
    assert "q.xlsx holds no questions" in refusal(tmp_path / "q.xlsx").problem


def test_feather_of_version_1_is_named(tmp_path):
    (tmp_path / "q.feather").write_bytes(b"FEA1....FEA1")
    assert "feather of version 1" in refusal(tmp_path / "q.feather").problem


def test_a_damaged_workbook_is_named(tmp_path):
    (tmp_path / "q.xlsx").write_bytes(b"PK")
    error = refusal(tmp_path / "q.xlsx")
    assert "q.xlsx is not a workbook" in error.problem and "CSV" in error.remedy


def test_columns_are_named_by_the_user(tmp_path):
    row = {"key": 7, "q": "How many?", "passage": "no", "doc": {"body": BERLIN}, "a": "10"}
    columns = "question=q, context=doc.body,answer=a,id=key"
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "q.parquet")
    as_lines(tmp_path / "q.jsonl", row)
    for name in ("q.parquet", "q.jsonl"):
        assert content(load(tmp_path / name, columns=columns)) == [("7", *READ[0][1:])]
    error = refusal(tmp_path / "q.parquet", columns="question=what")
    assert "no column what" in error.problem and "key, q, passage" in error.problem
    assert "question is missing" in refusal(tmp_path / "q.parquet").problem
    with pytest.raises(ValueError, match="names wrong"):
        DataSettings(columns="wrong=q")


@pytest.mark.parametrize("name", ["q.json", "q.csv", "q.parquet", "q.jsonl"])
def test_a_web_page_in_place_of_the_file_is_named(tmp_path, name):
    (tmp_path / name).write_text("\n\n<!DOCTYPE html>\n<html><title>question, context</title>")
    error = refusal(tmp_path / name)
    assert f"{name} is not the file but a web page" in error.problem and "raw" in error.remedy


def test_a_packed_file_is_known_by_its_bytes(tmp_path):
    text = json.dumps(squad(ASKED | {"answers": [TEN]})).encode()
    (tmp_path / "q.json").write_bytes(gzip.compress(text))
    assert content(load(tmp_path / "q.json")) == READ
    (tmp_path / "q.json").write_bytes(pa.Codec("zstd").compress(text, asbytes=True))
    assert content(load(tmp_path / "q.json")) == READ
    (tmp_path / "q.json.gz").write_bytes(text)
    assert content(load(tmp_path / "q.json.gz")) == READ
    (tmp_path / "q.json.gz").write_bytes(b"\x00" + gzip.compress(text))
    assert "q.json.gz is not JSON, or is cut off" in refusal(tmp_path / "q.json.gz").problem


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / "q.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    assert "Git LFS" in refusal(tmp_path / "q.parquet").problem
