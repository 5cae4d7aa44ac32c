"""Files of questions that tests write, and what is read of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa_lib.config import DataSettings
from qa_lib.data import Questions, load_questions
from qa_lib.errors import DataError

BERLIN = "Berlin has 10 inhabitants and one mayor."
BRIDGE = "Ann built the bridge in 1890. Bob painted it in 1901."
TEN = {"text": "10", "answer_start": 11}
ASKED = {"id": "1", "question": "How many?"}
ROW = {"id": "1", "title": "T", "context": BERLIN, "question": "How many?"}
LISTS = {"text": ["10"], "answer_start": [11]}
READ = [("1", "How many?", BERLIN, [("10", 11)])]


def load(path: Path, split: Any = "train", **settings: Any) -> Questions:
    return load_questions(DataSettings(source=str(path), **settings), split)


def content(questions: Questions) -> list[tuple[str, str, str, list[tuple[str, int]]]]:
    return [
        (row["id"], row["question"], row["context"], pairs(row["answers"]))
        for row in questions.table.to_pylist()
    ]


def pairs(answers: dict[str, list[Any]]) -> list[tuple[str, int]]:
    return list(zip(answers["text"], answers["answer_start"], strict=True))


def refusal(path: Path, split: Any = "train", **settings: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        load(path, split, **settings)
    return caught.value


def as_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, ensure_ascii=False))
    return path


def as_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def article(*asked: dict[str, Any], context: str = BERLIN, **fields: Any) -> dict[str, Any]:
    return {"paragraphs": [{"context": context, "qas": list(asked)}], **fields}


def squad(*asked: dict[str, Any], context: str = BERLIN) -> dict[str, Any]:
    return {"version": "x", "data": [article(*asked, context=context, title="T")]}
