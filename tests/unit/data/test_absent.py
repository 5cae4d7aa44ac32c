"""What files leave out: labels, answers, ids, the name of the answer."""

from __future__ import annotations

import pytest

from qa_lib.config import DataSettings
from qa_lib.data import read_questions
from tests.support.question_files import (
    BERLIN,
    ROW,
    TEN,
    as_json,
    content,
    load,
    refusal,
)


@pytest.mark.parametrize(
    "answers",
    [{"text": [], "answer_start": []}, [], {"text": [""], "answer_start": [-1]}],
)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_test_set_without_labels_is_not_taken_for_unanswerable(tmp_path, answers, split):
    rows = [ROW | {"id": str(n), "answers": answers} for n in range(3)]
    path = as_json(tmp_path / "q.json", rows)
    assert "3 questions without answers" in refusal(path, split, version="2.0").problem
    assert len(read_questions(str(path), DataSettings())) == 3
    told = [*rows, ROW | {"id": "9", "answers": [TEN]}]
    assert len(load(as_json(path, told), split, version="2.0")) == 4  # as the hub's squad_v2 has it
    said = [row | {"is_impossible": True} for row in rows]
    assert len(load(as_json(path, said), split, version="2.0")) == 3


def test_an_answer_that_is_a_dash_is_none(tmp_path):
    """As TechQA writes it."""
    rows = [
        ROW | {"id": "a", "answer": "-", "answer_start": "-", "answerable": "N"},
        ROW | {"id": "b", "answer": "10", "answer_start": "11", "answerable": "Y"},
    ]
    path = as_json(tmp_path / "q.json", rows)
    assert [row[3] for row in content(load(path, version="2.0"))] == [[], [("10", 11)]]


def test_text_beside_an_offset_is_the_answer_as_notebooks_flatten_squad(tmp_path):
    path = tmp_path / "q.csv"
    rows = f'0,How many?,"{BERLIN}",11.0,10,0\n1,How many mayors?,"{BERLIN}",30,one,0\n'
    path.write_text(f"index,question,context,answer_start,text,c_id\n{rows}")
    assert [row[3] for row in content(load(path))] == [[("10", 11)], [("one", 30)]]
    path.write_text(f'question,context,start,text\nHow many?,"{BERLIN}",11,10\n')
    assert "without answers" in refusal(path).problem  # it might be anything


def test_blank_ids_are_made_and_others_may_be_any_bytes(tmp_path):
    rows = [ROW | {"id": "", "answers": [TEN]}, ROW | {"id": " ", "answers": [TEN]}]
    path = as_json(tmp_path / "q.json", rows)
    assert [row[0] for row in content(load(path))] == ["row-0", "row-1"]
    path = tmp_path / "q.csv"
    lines = [b"id,question,context,answer", b'\xff,?,"10",10', b',?,"10",10']
    path.write_bytes(b"\n".join(lines))
    error = refusal(path)
    assert "1 of 2 rows" in error.problem and "not valid UTF-8" in error.problem
