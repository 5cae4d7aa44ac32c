"""Forms of JSON, of golds and of unanswerable questions; layouts of other tasks."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import golds, json_files, read_questions
from qa_lib.errors import DataError
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

# -- JSON


DOCUMENTS: dict[str, Any] = {
    "integer id, no title": {"data": [article(ASKED | {"id": 1, "answers": [TEN]})]},
    "text offset": squad(ASKED | {"answers": [TEN | {"answer_start": "11"}]}),
    "float offset": squad(ASKED | {"answers": [TEN | {"answer_start": 11.0}]}),
    "array of rows": [ROW | {"answers": LISTS}],
    "data of rows": {"data": [ROW | {"answers": LISTS}]},
    "bare paragraphs": [{"context": BERLIN, "qas": [ASKED | {"answers": [TEN]}]}],
    "bare articles": [article(ASKED | {"answers": [TEN]})],
    "one article": article(ASKED | {"answers": [TEN]}),
    "one row": ROW | {"answers": [TEN]},
    "another key": {"version": 1, "examples": [ROW | {"answers": [TEN]}]},
    "one gold, no list": squad(ASKED | {"answers": TEN}),
    "texts only": [ROW | {"answers": ["10"]}],
    "one text": [ROW | {"answer": "10"}],
    "flat": [ROW | {"answer_text": "10", "answer_start": 11}],
    "outer white space": squad(ASKED | {"answers": [TEN | {"text": "10 "}]}),
    "white space before": squad(ASKED | {"answers": [{"text": " 10", "answer_start": 10}]}),
    "text trimmed, offset not": squad(ASKED | {"answers": [TEN | {"answer_start": 10}]}),
    "question with white space": squad({"id": "1", "question": "  How many?\n", "answers": [TEN]}),
    "no offset": squad(ASKED | {"answers": [{"text": "10"}]}),
    "a table's columns": {key: [value] for key, value in (ROW | {"answers": LISTS}).items()},
    "pandas columns": {key: {"0": value} for key, value in (ROW | {"answer": "10"}).items()},
    "pandas rows by index": {"0": ROW | {"answer": "10"}},
    "rows by id": {"1": {key: ROW[key] for key in ("context", "question")} | {"answer": "10"}},
    "the hub's viewer": {"features": [{"name": "id"}], "rows": [{"row": ROW | {"answers": LISTS}}]},
    "questions of a context": [{"context": BERLIN, "questions": [ASKED | {"answer": "10"}]}],
    "camel case": [{"Context": BERLIN, "id": 1, "Question": "How many?", "answerText": "10"}],
    "fields in capitals": [ROW | {"answers": [{"Text": "10", "Answer_Start": "11"}]}],
    "golds of several annotators": [ROW | {"answers": [[TEN]]}],
    "JSON in a text": [ROW | {"answers": json.dumps(LISTS)}],
    "offsets as a list of texts": [ROW | {"answers": {"text": ["10"], "answer_start": ["11.0"]}}],
    "a negative offset": squad(ASKED | {"answers": [TEN | {"answer_start": -7}]}),
    "an offset without end": squad(ASKED | {"answers": [TEN | {"answer_start": 10**30}]}),
    "an empty title": [ROW | {"title": "", "answers": ["10"]}],
    "unknown answer fields": squad(ASKED | {"answers": [TEN | {"answer_id": 1, "end": 13}]}),
    "questions as columns": [
        {"context": BERLIN, "qas": {"id": ["1"], "question": ["How many?"], "answers": [[TEN]]}}
    ],
    "a paragraph without questions": {
        "data": [
            article(title="T")
            | {"paragraphs": [{"context": "x"}, *article(ASKED | {"answers": [TEN]})["paragraphs"]]}
        ]
    },
    "a paragraph that is no list": {
        "data": [{"paragraphs": {"context": BERLIN, "qas": ASKED | {"answers": [TEN]}}}]
    },
    "ids of articles and paragraphs": [
        {"_id": "a"} | article(ASKED | {"answers": [TEN]}),
        {"uid": "b", "paragraphs": []},
    ],
    "KLUE": squad({"guid": "1", "question": "How many?", "answers": [TEN]}),
    "data by id": {"version": 1, "data": {"1": {**ROW, "answer": "10"}}},
    "columns in data": {"data": {key: [value] for key, value in (ROW | {"answer": "10"}).items()}},
    "an article in data": {"data": article(ASKED | {"answers": [TEN]}, title="T")},
    "flattened by pandas": [ROW | {"answers_text": ["10"], "answers_answer_start": [11]}],
    "pandas split": {"columns": [*ROW, "answer"], "index": [0], "data": [[*ROW.values(), "10"]]},
}


@pytest.mark.parametrize("form", DOCUMENTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_in_every_form_is_read_to_the_same_question(tmp_path, form, indent):
    path = tmp_path / "q.json"
    path.write_text(json.dumps(DOCUMENTS[form], indent=indent))
    assert content(load(path)) == content(load(path, "eval")) == READ


LINES: dict[str, Any] = {
    "rows": ROW | {"answers": LISTS},
    "integer id": ROW | {"id": 1, "answers": LISTS},
    "no title": {key: ROW[key] for key in ("id", "context", "question")} | {"answers": LISTS},
    "list of golds": ROW | {"answers": [TEN]},
    "articles": article(ASKED | {"answers": [TEN]}, title="T"),
    "paragraphs": {"context": BERLIN, "qas": [ASKED | {"answers": [TEN]}]},
    "nested extras": ROW | {"answers": LISTS, "meta": {"a": [1, "b", None]}},
}


@pytest.mark.parametrize("form", LINES)
def test_json_lines_in_every_form(tmp_path, form):
    assert content(load(as_lines(tmp_path / "q.jsonl", LINES[form]))) == READ


@pytest.mark.parametrize("large_bytes", [0, 1 << 20])
def test_every_document_of_a_file_counts(tmp_path, large_bytes, monkeypatch):
    """Of documents that were put into one file, only the first would be asked."""
    monkeypatch.setattr(json_files, "_LARGE_BYTES", large_bytes)
    row = ROW | {"answers": [TEN]}
    second = [squad(ASKED | {"id": "2", "answers": [TEN]}), [row | {"id": "2"}]]
    for first, other in zip([squad(ASKED | {"answers": [TEN]}), [row]], second, strict=True):
        path = as_lines(tmp_path / "q.json", first, other)
        assert [id_ for id_, *_ in content(load(path))] == ["1", "2"]
        path.write_text(path.read_text()[:-2])
        assert "line 2: not a question" in refusal(path).problem


def test_mrqa_lines_take_the_detected_spans_and_count_all_answers(tmp_path):
    asked = {
        "qid": "1",
        "question": "How many?",
        "answers": ["10", "ten"],
        "detected_answers": [{"text": "10", "char_spans": [[11, 12]], "token_spans": [[2, 2]]}],
        "question_tokens": [["How", 0]],
    }
    lines = {"header": {"dataset": "X"}}, {"context": BERLIN, "id": "", "qas": [asked]}
    path = as_lines(tmp_path / "q.jsonl", *lines)
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("q.jsonl", "q.jsonl.gz"):
        assert content(load(tmp_path / name)) == READ
    assert content(load(path, "eval"))[0][3] == [("10", 11), ("ten", -1)]
    detected = {"text": ["10"], "char_spans": [{"start": [11], "end": [12]}]}  # as on the hub
    row = {"qid": "1", "question": "How many?", "context": BERLIN, "answers": ["ten"]}
    table = pa.Table.from_pylist([row | {"detected_answers": detected}])
    pq.write_table(table, tmp_path / "q.parquet")
    assert content(load(tmp_path / "q.parquet")) == READ


def test_values_of_different_types_in_one_column_are_texts(tmp_path):
    rows = [ROW | {"id": 1, "answers": LISTS}, ROW | {"id": "b", "answers": [TEN]}]
    for path in (as_lines(tmp_path / "q.jsonl", *rows), as_json(tmp_path / "q.json", rows)):
        assert [(id_, gold) for id_, _, _, gold in content(load(path))] == [
            ("1", [("10", 11)]),
            ("b", [("10", 11)]),
        ]


@pytest.mark.parametrize("name", ["q.json", "q.jsonl"])
def test_nan_is_null_as_pandas_writes_it(tmp_path, name):
    burnt = {"id": math.nan, "title": math.nan, "context": BERLIN, "question": "Who?"}
    rows = [burnt | {"answers": math.nan, "is_impossible": True}, ROW | {"answers": [TEN]}]
    path = as_lines(tmp_path / name, *rows) if name == "q.jsonl" else as_json(tmp_path / name, rows)
    assert content(load(path)) == [("row-0", "Who?", BERLIN, []), *READ]
    rows.append(ROW | {"id": "2", "context": math.nan, "answers": [TEN]})
    assert "row 2: the context is missing" in refusal(as_json(tmp_path / "q.json", rows)).problem


def test_ids_beyond_integers_stay_apart(tmp_path):
    rows = [ROW | {"id": number, "answers": [TEN]} for number in (1e20, 2e20)]
    ids = [id_ for id_, *_ in content(load(as_json(tmp_path / "q.json", rows)))]
    assert [float(id_) for id_ in ids] == [1e20, 2e20]


def test_texts_that_look_like_dates_stay_texts(tmp_path):
    row = {"question": "2001-01-01", "context": "2020-02-02", "answers": ["2020-02-02"]}
    for rows in ([row], [row | {"answers": None, "is_impossible": True}] * 70 + [row]):
        path = as_lines(tmp_path / "q.jsonl", *rows)
        assert content(load(path))[-1][1:] == ("2001-01-01", "2020-02-02", [("2020-02-02", 0)])


# -- golds


def test_a_bad_gold_does_not_cost_the_row_its_sound_one(tmp_path):
    other = {"text": "ten people", "answer_start": -1}
    document = squad(ASKED | {"answers": [other, TEN]}, ASKED | {"id": "2", "answers": [TEN]})
    path = as_json(tmp_path / "q.json", document)
    train, dev = load(path), load(path, "eval")
    assert [gold for *_, gold in content(train)] == [[("10", 11)], [("10", 11)]]
    assert [gold for *_, gold in content(dev)] == [[("10", 11), ("ten people", -1)], [("10", 11)]]
    assert train.num_quarantined == dev.num_quarantined == 0
    assert train.notes == {"unusable golds left out": 1}
    assert dev.notes == {"golds not in their context": 1}


# -- unanswerable


ANN = {"id": "1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]}
BURNT = {"id": "2", "question": "Who burnt it?", "is_impossible": True}


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"answers": None},
        {"answers": []},
        {"answers": [], "plausible_answers": [{"text": "Bob", "answer_start": 30}]},
        {"answers": [{"text": "", "answer_start": -1}]},
        {"answers": [{"text": "", "answer_start": 0}]},
        {"answers": [], "is_impossible": "true"},
        {"answers": {"text": [], "answer_start": []}, "is_impossible": 1},
        {"answers": None, "is_impossible": " Y "},
        {"answers": None, "is_impossible": None, "is_answerable": False},
        {"answers": None, "is_impossible": None, "Answerable": "no"},
    ],
)
def test_an_unanswerable_question_is_one_however_it_is_written(tmp_path, answers):
    for answerable in ({}, {"is_impossible": False}):
        document = squad(ANN | answerable, BURNT | answers, context=BRIDGE)
        loaded = load(as_json(tmp_path / "q.json", document))
        assert [gold for *_, gold in content(loaded)] == [[("Ann", 0)], []]
        assert loaded.has_unanswerable


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answers": [{"text": "Bob", "answer_start": 30}]}, golds.CONTRADICTION),
        ({"is_impossible": False}, golds.NO_GOLD),
        ({"is_impossible": False, "answers": []}, golds.NO_GOLD),
        ({"is_impossible": False, "answers": [{"text": "", "answer_start": 0}]}, golds.EMPTY),
        ({"is_impossible": None, "is_answerable": True, "answers": []}, golds.NO_GOLD),
        *(
            (said | {"answers": [{"text": "Bob", "answer_start": 30}]}, golds.CONTRADICTION)
            for said in (
                {"is_impossible": "Y"},
                {"is_impossible": None, "is_answerable": False},
                {"is_impossible": False, "answerable": "no"},
            )
        ),
    ],
)
def test_what_contradicts_itself_is_named_and_not_given_up(tmp_path, changes, reason):
    path = as_json(tmp_path / "q.json", squad(ANN, BURNT | changes, context=BRIDGE))
    error = refusal(path)
    assert f"row 1: {reason} (id '2'" in error.problem
    assert "is_impossible" in error.remedy and "bad-row-limit" not in error.remedy


@pytest.mark.parametrize("value", ["maybe", 2, "jaja", 0.5])
def test_a_word_that_is_neither_yes_nor_no_is_named(tmp_path, value):
    """Taken for null, a question with a plausible answer would be trained as answerable."""
    path = as_json(tmp_path / "q.json", [ROW | {"answers": ["10"], "is_impossible": value}])
    assert f"is_impossible holds '{value}', which is neither" in refusal(path).problem


def test_questions_without_any_answers_can_be_answered_but_not_scored(tmp_path):
    path = as_json(tmp_path / "q.json", squad(ASKED))
    assert "1 questions without answers; they cannot be trained on" in refusal(path).problem
    error = refusal(path, "eval")
    assert "cannot be scored" in error.problem and "jobs.answer --answer.input" in error.remedy
    (read,) = read_questions(str(path), DataSettings())
    assert read.items() >= {"id": "1", "question": "How many?", "context": BERLIN}.items()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b'{"question": "?", "context": "Z\xfcrich"}', "not valid UTF-8 (id 'row-1', context: 'Z"),
        (b'{"question": "?", "context": "a \\ud83d"}', "not valid UTF-8"),
        (b'{"question": " ", "context": "a"}', "the question is empty"),
        (b'{"question": "?", "context": null}', "the context is missing"),
    ],
)
def test_what_cannot_be_asked_is_named(tmp_path, line, named):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"question": "?", "context": "a"}\n' + line + b"\n")
    with pytest.raises(DataError, match="row 1 ") as caught:
        read_questions(str(path), DataSettings())
    assert named in caught.value.problem and "UTF-8" in caught.value.remedy


# -- documents that do not fit


@pytest.mark.parametrize("form", DOCUMENTS)
def test_a_large_document_is_read_item_by_item_to_the_same_questions(tmp_path, form, monkeypatch):
    path = as_json(tmp_path / "q.json", DOCUMENTS[form])
    whole = load(path).table
    monkeypatch.setattr(json_files, "_LARGE_BYTES", 0)
    monkeypatch.setattr(json_files, "_ROWS_PER_PART", 1)
    assert load(path).table.equals(whole)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_large_document_that_is_cut_off_is_named(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(json_files, "_LARGE_BYTES", 0)
    path = as_json(tmp_path / "q.json", squad(*[ASKED | {"answers": [TEN]}] * 5))
    text = path.read_text()
    path.write_text(text[: int(len(text) * kept)])
    assert "is not JSON, or is cut off" in refusal(path).problem
