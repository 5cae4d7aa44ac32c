"""A file of questions: what becomes of its lines, with a pool that answers without a model."""

from __future__ import annotations

import datetime
import gzip
import json
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib import config
from qa_lib.errors import DataError
from qa_lib.serving import answer_file, batch

LINES = [
    {"id": "a", "question": "Who?", "context": "Ann did.", "asked": {"by": "Bob"}},
    {"question": "When?", "context": "In 1890.", "level": 3},
]
OTHERS = [
    {"uid": 1, "sample": {"q": "Who?", "hard": True}, "passage.text": "Ann did."},
    {"uid": 2, "sample": {"q": "When?"}, "passage.text": "In 1890.", "note": None},
]
COLUMNS = ["--data.columns", "question=sample.q,context=passage.text,answer=a"]


class EchoingPool:
    """A pool whose answer to a question is the question and its context."""

    device = "cpu"

    @classmethod
    def of(cls, settings: config.Settings) -> EchoingPool:
        return cls()

    def run(self, load: Callable, tasks: Sequence[pa.Table], **_: str) -> Iterator[pa.Table]:
        for task in tasks:
            rows = task.select(["question", "context"]).to_pylist()
            yield pa.table({"prediction": [json.dumps([*row.values()]) for row in rows]})


@pytest.fixture(autouse=True)
def _no_model(monkeypatch):
    monkeypatch.setattr(batch, "ActorPool", EchoingPool)
    monkeypatch.setattr(batch, "start_ray", lambda: None)
    monkeypatch.setattr(batch.models, "check_answers", lambda name: None)


def answered(source: Path, *flags: str) -> list[dict[str, Any]]:
    output = source.with_name("out.jsonl")
    paths = ["--answer.input", str(source), "--answer.output", str(output)]
    answer_file(config.parse("answer", [*paths, *flags]))
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def written(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    content = "\n".join(map(json.dumps, lines)).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["in.jsonl", "in.ndjson", "in.jsonl.gz"])
@pytest.mark.parametrize(("lines", "flags"), [(LINES, []), (OTHERS, COLUMNS)])
def test_lines_come_out_as_they_were_packed_or_with_fields_of_other_names(
    tmp_path, name, lines, flags
):
    rows = answered(written(tmp_path / name, lines), *flags)
    predictions = [row.pop("prediction") for row in rows]
    assert rows == lines
    assert predictions == [["Who?", "Ann did."], ["When?", "In 1890."]]


ASKED = {"id": "a", "question": "Who?", "context": "Ann did."}
PREDICTED = {"prediction": ["Who?", "Ann did."]}


def test_documents_on_lines_give_their_questions(tmp_path):
    """MRQA's files are such."""
    asked = {"qid": "a", "question": "Who?", "answers": ["Ann"]}
    lines = [{"header": {"dataset": "x"}}, {"id": "p", "context": "Ann did.", "qas": [asked]}]
    (row,) = answered(written(tmp_path / "in.jsonl.gz", lines))
    assert row.items() >= (ASKED | PREDICTED).items()


@pytest.mark.parametrize(
    ("header", "cells", "flags", "others"),
    [
        ("id,question,context,note", "a,Who?,Ann did.,x", [], {"note": "x"}),
        (
            "n,id,question,context,n,",
            "1,a,Who?,Ann did.,,3",
            [],
            {"n": "1", "n 5": None, "column 6": "3"},
        ),
        ("q,id,question,context", "Who?,a,why,Ann did.", ["question=q"], {"question 3": "why"}),
        ("uid,id,question,context", "7,a,Who?,Ann did.", [], {"uid": "7"}),
    ],
)
def test_rows_of_a_table_keep_their_other_columns(tmp_path, header, cells, flags, others):
    (tmp_path / "in.csv").write_text(f"{header}\n{cells}\n")
    flags = ["--data.columns", *flags] if flags else []
    assert answered(tmp_path / "in.csv", *flags) == [ASKED | others | PREDICTED]


def test_values_that_json_has_not_become_text(tmp_path):
    beside = {
        "at": pa.array([datetime.datetime(2026, 11, 28, 9)]),
        "price": pa.array([Decimal("1.50")]),
        "rate": pa.array([math.nan]),
        "tags": pa.array([[("x", math.inf)]], pa.map_(pa.string(), pa.float64())),
        "raw": pa.array([b"a\xff"]),
        "level": pa.array([3], pa.int8()),
        "until": pa.array([316_537_286_400], pa.timestamp("s")),
        "said": pa.array([[{"by": b"\xe9".decode("latin-1")}]]),
    }
    pq.write_table(
        pa.table({name: [text] for name, text in ASKED.items()} | beside), tmp_path / "in.parquet"
    )
    (row,) = answered(tmp_path / "in.parquet")
    assert row == ASKED | PREDICTED | {
        "at": "2026-11-28 09:00:00",
        "price": "1.50",
        "rate": None,
        "tags": [["x", "inf"]],
        "raw": "a\\xff",
        "level": 3,
        "until": "12000-09-01 00:00:00.000",
        "said": [{"by": "é"}],
    }


def test_bytes_in_another_column_are_no_fault_of_the_question(tmp_path):
    (tmp_path / "in.csv").write_bytes(b"id,question,context,note\na,Who?,Ann did.,Z\xfcrich\n")
    assert answered(tmp_path / "in.csv") == [ASKED | {"note": "Z\\xfcrich"} | PREDICTED]


def test_bytes_inside_of_another_column_too(tmp_path):
    said = pa.array([[{"by": b"\xe9"}]]).cast(pa.list_(pa.struct({"by": pa.string()})), safe=False)
    table = pa.table({name: [text] for name, text in ASKED.items()} | {"said": said})
    pq.write_table(table, tmp_path / "in.parquet")
    (row,) = answered(tmp_path / "in.parquet")
    assert row["said"] == [{"by": "\\xe9"}]


def test_a_file_that_may_be_anything_is_told_what_its_first_line_lacks(tmp_path):
    with pytest.raises(DataError, match="line 1 has no context"):
        answered(written(tmp_path / "in.txt", [{"question": "Who?"}]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("question,context,prediction\nWho?,Ann did.,Bob\n", "has a prediction already"),
        ("question,context\n", "holds no question"),
    ],
)
def test_a_table_that_cannot_be_answered_is_refused(tmp_path, content, words):
    (tmp_path / "in.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        answered(tmp_path / "in.csv")


@pytest.mark.parametrize(
    ("line", "flags", "words"),
    [
        (LINES[0] | {"prediction": "Bob"}, [], "line 2 has a prediction already"),
        (LINES[0], COLUMNS, "line 2 has no sample.q"),
        (OTHERS[0] | {"sample": "Who?"}, COLUMNS, "line 2 has no sample.q"),
        (OTHERS[0] | {"passage.text": ["Ann"]}, COLUMNS, "line 2 has no passage.text"),
    ],
)
def test_a_line_that_cannot_be_answered_is_named(tmp_path, line, flags, words):
    source = written(tmp_path / "in.jsonl", [OTHERS[0] if flags else LINES[1], line])
    with pytest.raises(DataError, match=words) as caught:
        answered(source, *flags)
    assert "prediction" in caught.value.remedy or "--data.columns" in caught.value.remedy
    assert not (tmp_path / "out.jsonl").exists()
