"""The guide's commands for a table of one's own, as they stand there, with a tiny model."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from benchmarks import own_csv
from qa_lib import config
from qa_lib.data import embedded
from tests.support import tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

SHORT = ["--data.max-length", "96", "--data.stride", "24", "--evaluate.semantic-model", "none"]


def write_table(path: Path, split: str, num_rows: int) -> None:
    """Write question, context and answer; no ids, titles or offsets."""
    rows = embedded.corpus(split).slice(0, num_rows).to_pylist()
    columns = {name: [row[name] for row in rows] for name in ("question", "context")}
    columns["answer"] = [row["answers"]["text"][0] for row in rows]
    pacsv.write_csv(pa.table(columns), path)


def test_the_three_commands_of_the_guide_run_as_they_stand(tmp_path: Path):
    write_table(tmp_path / "questions.csv", "train", 300)
    write_table(tmp_path / "test.csv", "eval", 12)
    model = tiny.write_model(tmp_path / "tiny")
    commands = own_csv.commands()
    assert [job for job, _ in commands] == ["train", "evaluate", "answer"]
    for job, flags in commands:
        own = ["--model.name", model, "--train.max-steps", "2"] if job == "train" else []
        settings = config.parse(job, [*own_csv.placed(flags, tmp_path), *SHORT, *own])
        importlib.import_module(f"jobs.{job}").JOB.execute(settings)
    result = json.loads((tmp_path / "runs" / "mine" / "result.json").read_text())
    assert result["num_train_questions"] == 300 and result["num_questions"] == 12
    answered = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert len(answered) == 12 and "prediction" in json.loads(answered[0])
