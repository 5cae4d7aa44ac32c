"""What a user can get wrong: exit code 2, the cause, the remedy, no traceback, and soon.

Soon is measured by this machine: half as long again as its bare imports of ray and of a model.

Each error is caused through the real command, before Ray starts; no run folder is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import load_questions

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file for every case that cannot work."""
    folder = tmp_path_factory.mktemp("faulty")
    table = load_questions(DataSettings(train_limit=200), "train").table
    pq.write_table(table, folder / "whole.parquet")
    content = (folder / "whole.parquet").read_bytes()
    (folder / "truncated.parquet").write_bytes(content[: len(content) // 2])
    pq.write_table(table.drop_columns(["context"]), folder / "no-context.parquet")
    rows = table.to_pylist()
    for row in rows[::10]:
        row["answers"]["answer_start"][0] += 1
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "misplaced.parquet")
    (folder / "no-model").mkdir()
    (folder / "llama").mkdir()
    (folder / "llama" / "config.json").write_text('{"model_type": "vit"}')
    (folder / "runs" / "taken").mkdir(parents=True)
    (folder / "runs" / "taken" / "config.yaml").write_text("{}")
    return folder


# Flags; what the message must name; what its remedy must say.
CASES = {
    "unknown flag": (["--train.epoch", "2"], "--train.epoch", "--train.epochs"),
    "stride beyond the window": (
        ["--data.max-length", "64", "--data.stride", "64"],
        "data.stride",
        "data.max_length",
    ),
    "missing file": (["--data.source", "{faulty}/none.parquet"], "none.parquet", "data.source"),
    "missing evaluation file": (
        ["--data.eval-source", "{faulty}/none.parquet"],
        "none.parquet",
        "data.source",
    ),
    "missing teacher": (["--train.teacher", "{faulty}/no-model"], "no model", ""),
    "truncated Parquet": (["--data.source", "{faulty}/truncated.parquet"], "truncated.parquet", ""),
    "wrong schema": (["--data.source", "{faulty}/no-context.parquet"], "context", ""),
    "bad rows": (["--data.source", "{faulty}/misplaced.parquet"], "20", "--data.bad-row-limit"),
    "a folder without a model": (["--model.name", "{faulty}/no-model"], "no model", "--model.name"),
    "no question-answering model": (["--model.name", "{faulty}/llama"], "vit", "BERT"),
    "a model that is not there": (["--model.name", "/none/there"], "/none/there", "--model.name"),
    "run name in use": (["--run-name", "taken"], "taken", "--resume"),
    "too many workers": (
        ["--train.num-workers", "512", "--train.global-batch", "512", "--train.device", "cpu"],
        "512 workers",
        "--train.num-workers",
    ),
    "fp16 on a CPU": (["--train.precision", "fp16", "--train.device", "cpu"], "fp16", "bf16"),
    "unknown recipe": (["--recipe", "quickstrat"], "quickstrat", "quickstart"),
    "a name that climbs out": (["--run-name", "../elsewhere"], "../elsewhere", ""),
    "a window beyond the positions": (["--data.max-length", "1024"], "512 positions", "512"),
    "nothing to resume": (["--resume", "--run-name", "never-was"], "never-was", ""),
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended; seconds are the processor's."""

    code: int
    stderr: str
    seconds: float


IMPORTS = "import ray, torch; from transformers import BertForQuestionAnswering"


def run(*arguments: str) -> Outcome:
    environment = os.environ | {"COLUMNS": "300"}
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return Outcome(child.returncode, said.read(), usage.ru_utime + usage.ru_stime)


@pytest.fixture(scope="module")
def outcomes(faulty: Path) -> dict[str, Outcome]:
    """Run all commands and the bare imports, two at a time: each imports what it needs."""
    job = ("-m", "jobs.train", "--storage", str(faulty / "runs"))
    commands = {"imports": ("-c", IMPORTS)}
    for case, (flags, _, _) in CASES.items():
        commands[case] = (*job, *(flag.format(faulty=faulty) for flag in flags))
    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(lambda arguments: run(*arguments), commands.values())
        return dict(zip(commands, ended, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_an_error_names_cause_and_remedy(outcomes: dict[str, Outcome], case: str):
    _, cause, remedy = CASES[case]
    assert outcomes[case].code == 2, outcomes[case].stderr
    assert cause in outcomes[case].stderr
    assert remedy in outcomes[case].stderr
    assert "Traceback" not in outcomes[case].stderr
    assert outcomes[case].seconds < 1.5 * outcomes["imports"].seconds


def test_an_error_leaves_no_run_but_its_quarantine(faulty: Path, outcomes: dict[str, Outcome]):
    left = [run for run in (faulty / "runs").iterdir() if run.name != "taken"]
    assert not [run for run in left if not list(run.glob("quarantine*"))]
