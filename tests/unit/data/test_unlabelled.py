"""Questions for the teacher alone: without answers, none held out, none that has its label."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.compute as pc
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import load_questions, load_unlabelled
from qa_lib.errors import DataError


def write(folder: Path, name: str, articles: dict[str, list[tuple[str, str]]]) -> str:
    """Write SQuAD JSON: by title, pairs of context and question; the answer is the first word."""
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": context,
                    "qas": [
                        {
                            "id": f"{name}-{title}-{number}",
                            "question": question,
                            "answers": [{"text": context.split()[0], "answer_start": 0}],
                        }
                    ],
                }
                for number, (context, question) in enumerate(pairs)
            ],
        }
        for title, pairs in articles.items()
    ]
    path = folder / name
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> DataSettings:
    source = write(
        tmp_path,
        "train.json",
        {"Rome": [("Romans built roads.", "Who?"), ("Rome had hills.", "What had hills?")]},
    )
    held_out = write(tmp_path, "dev.json", {"Super_Bowl": [("Broncos won.", "Who won?")]})
    return DataSettings(source=source, eval_source=held_out)


def test_held_out_articles_and_labelled_questions_are_left_out_and_counted(data, tmp_path):
    more = write(
        tmp_path,
        "more.json",
        {
            "super bowl": [("Another text.", "Of which article?")],
            "Sports": [("Broncos  won.", "Who won, again?")],
            "Rome": [("Romans built roads.", "Who?"), ("Romans built roads.", "Built what?")],
            "Athens": [("Athens is old.", "How old?")],
        },
    )
    found = load_unlabelled(data, more, load_questions(data, "train"))
    assert found.questions.table["question"].to_pylist() == ["Built what?", "How old?"]
    assert (found.num_held_out, found.num_known) == (2, 1)
    counts = pc.list_value_length(pc.struct_field(found.questions.table["answers"], "text"))
    assert counts.to_pylist() == [0, 0]


def test_no_answers_are_needed(data, tmp_path):
    path = tmp_path / "more.jsonl"
    path.write_text(json.dumps({"question": "How old?", "context": "Athens is old."}) + "\n")
    assert len(load_unlabelled(data, str(path), load_questions(data, "train")).questions) == 1


def test_the_rest_of_the_labelled_source_is_its_other_questions(data):
    few = data.model_copy(update={"train_limit": 1})
    labelled = load_questions(few, "train")
    found = load_unlabelled(few, few.source, labelled)
    both = labelled.table["id"].to_pylist() + found.questions.table["id"].to_pylist()
    assert sorted(both) == sorted(load_questions(data, "train").table["id"].to_pylist())


def test_a_source_of_held_out_articles_alone_is_refused(data):
    with pytest.raises(DataError, match=r"neither held out \(1\)"):
        load_unlabelled(data, data.eval_source, load_questions(data, "train"))


def test_articles_held_out_of_training_are_not_taught_either():
    data = DataSettings(holdout_articles=0.3)
    labelled = load_questions(data.model_copy(update={"train_limit": 10}), "train")
    found = load_unlabelled(data, "embedded", labelled, limit=500)
    assert len(found.questions) == 500 and found.num_known == 10
    held_out = set(load_questions(data, "holdout").titles)
    assert found.num_held_out >= len(load_questions(data, "holdout"))
    assert held_out.isdisjoint(found.questions.titles)
