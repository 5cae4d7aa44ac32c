"""Layouts of other tasks, which are named, not read as they stand."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.question_files import (
    BERLIN,
    ROW,
    TEN,
    as_json,
    as_lines,
    content,
    load,
    refusal,
)

OTHERS = {
    "CMRC": [{"context_id": "D", "context_text": BERLIN, "qas": [{"query_text": "?"}]}],
    "DROP": {"p1": {"passage": BERLIN, "qa_pairs": [{"question": "?"}]}},
    "HotpotQA": [{"_id": "1", "question": "?", "context": [["T", ["s"]]], "supporting_facts": []}],
    "Natural Questions": {"document_html": "<p>", "annotations": [], "question_text": "?"},
    "MS MARCO": {"query": "?", "passages": [{"passage_text": "x"}], "answers": ["a"]},
    "DuReader": {"question": "?", "documents": [{"paragraphs": ["x"]}], "answers": ["a"]},
    "DuoRC": {"id": "1", "plot": BERLIN, "qa": [{"question": "?", "answers": ["10"]}]},
    "TyDi QA": {
        "question_text": "?",
        "document_plaintext": BERLIN,
        "passage_answer_candidates": {"plaintext_start_byte": [0]},
        "annotations": {"minimal_answers_start_byte": [11]},
    },
    "MultiRC": {"paragraph": BERLIN, "question": "?", "answer": "one", "idx": {"paragraph": 0}},
    "Label Studio": [{"id": 1, "data": {"context": BERLIN}, "annotations": [{"result": []}]}],
    "MuSiQue": {
        "id": "1",
        "paragraphs": [{"idx": 0, "title": "T", "paragraph_text": BERLIN}],
        "question": "?",
        "question_decomposition": [{"id": 1, "question": "?", "answer": "10"}],
        "answer": "10",
    },
    "QuAIL": {"context": BERLIN, "question": "?", "answers": ["9", "10"], "correct_answer_id": 1},
    "ReClor": {
        **{"context": BERLIN, "question": "?", "answers": ["9", "10"], "label": 1},
        "id_string": "train_0",
    },
    "BoolQ": {"question": "is it", "title": "T", "answer": True, "passage": BERLIN},
}


@pytest.mark.parametrize("task", OTHERS)
@pytest.mark.parametrize("indent", [None, 1])
def test_another_tasks_layout_is_named_with_what_to_do(tmp_path, task, indent):
    (tmp_path / "q.json").write_text(json.dumps(OTHERS[task], indent=indent))
    error = refusal(tmp_path / "q.json")
    assert f"is in {task}" in error.problem
    assert len(error.remedy) > 40


@pytest.mark.parametrize("answers", [{"answer": True}, {"answers": [False]}])
@pytest.mark.parametrize("split", ["train", "eval"])
def test_answers_that_are_true_or_false_are_refused(tmp_path, answers, split):
    """BoolQ of the hub: its golds would be scored as the texts true and false."""
    path = as_lines(tmp_path / "q.jsonl", {"question": "is it", "passage": BERLIN} | answers)
    assert "answers are true or false" in refusal(path, split).problem


def test_tydi_qa_with_answers_as_texts_is_read(tmp_path):
    row = {"question_text": "How many?", "document_plaintext": BERLIN}
    golds = {"answer_start": [11], "answer_text": ["10"]}
    none = {"answer_start": [-1], "answer_text": [""]}
    path = as_lines(tmp_path / "q.jsonl", *[row | {"annotations": each} for each in (golds, none)])
    loaded = load(path, columns="context=document_plaintext,answer=annotations")
    assert [gold for *_, gold in content(loaded)] == [[("10", 11)], []]


@pytest.mark.parametrize("task", ["DROP", "MS MARCO", "MultiRC", "BoolQ", "TyDi QA", "QuAIL"])
def test_it_is_named_in_a_table_too(tmp_path, task):
    row = OTHERS[task]
    row = row[0] if isinstance(row, list) else row.get("p1", row)
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "q.parquet")
    assert f"is in {task}" in refusal(tmp_path / "q.parquet").problem


def test_questions_that_were_converted_are_read_beside_what_their_layout_had(tmp_path):
    row = ROW | {"answers": [TEN], "supporting_facts": [["T", 0]], "label": 1}
    assert content(load(as_json(tmp_path / "q.json", [row])))[0][3] == [("10", 11)]


@pytest.mark.parametrize("name", ["paragraphs", "qas"])
@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_a_column_of_texts_may_have_the_name_of_a_list_of_parts(tmp_path, name, suffix):
    row = {"question": "How many?", name: BERLIN, "answer": "10"}
    path = tmp_path / f"q{suffix}"
    if suffix == ".csv":
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    else:
        (as_json(path, [row]) if suffix == ".json" else as_lines(path, row))
    assert content(load(path, columns=f"context={name}"))[0][3] == [("10", 11)]
    assert "context is missing" in refusal(path).problem


def test_columns_that_only_have_such_names_are_none(tmp_path):
    row = {"idx": 7, "paragraph": BERLIN, "question": "?", "answer": "10"}
    for path in (as_json(tmp_path / "q.json", [row]), as_lines(tmp_path / "q.jsonl", row)):
        assert content(load(path))[0][3] == [("10", 11)]
    (tmp_path / "q.csv").write_text(f"passage,qa_pairs,question,answer\n{BERLIN},x,?,10\n")
    assert content(load(tmp_path / "q.csv"))[0][3] == [("10", 11)]
