"""verify: what result.json says that a run made must be there; tests/jobs proves its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lib.reporting.verify import verify
from qa_lib.runs.folder import Folder
from tests.support.report_runs import write_run


def missing(folder: Path, job: str, **fields: object) -> set[str]:
    """Return which files of a run `verify` says are missing, where all that can be are."""
    run = write_run(folder / job, job, **fields)
    for name in ("metrics.jsonl", "predictions.json"):
        run.remove(name)
    return {found.what for found in verify(run) if found.message == "it is missing"}


@pytest.mark.parametrize(
    ("job", "fields", "names"),
    [
        ("train", {}, {"ledger.parquet", "metrics.jsonl", "predictions.json", "model"}),
        ("train", {"status": "failed"}, {"ledger.parquet", "metrics.jsonl", "predictions.json"}),
        ("adjust", {"num_questions": 0}, {"ledger.parquet", "metrics.jsonl", "model"}),
        ("evaluate", {}, {"predictions.json"}),
        ("evaluate", {"num_questions": 0}, set()),
    ],
)
def test_a_file_that_the_result_speaks_of_and_that_is_gone_is_a_fault(tmp_path, job, fields, names):
    assert missing(tmp_path, job, **fields) == names


def test_the_runs_inside_of_a_run_are_checked_and_missed(tmp_path):
    front = [{"model": "elsewhere/tuned/front/1.5x/model"}, {"model": "elsewhere/tuned/model"}, {}]
    run = write_run(tmp_path / "tuned", "tune", front=front, stages=[{}])
    faults = {found.what: found.message for found in verify(run) if found.verdict == "fault"}
    missing = ("stages/1", "front/1.5x", "parent")
    assert [faults.get(name) for name in missing] == ["its result.json is missing"] * 3
    inner = [write_run(tmp_path / "tuned" / name) for name in (*missing, "front/1.5x/stages/1")]
    Folder(inner[0].path).remove("config.yaml")  # a stage has that of the run
    found = {found.what: found.message for found in verify(run)}
    assert not found.keys() & set(missing)
    for each in inner:
        name = each.path.removeprefix(f"{run.path}/")
        assert found[f"{name}/result.json"].startswith("done in")
        assert found[f"{name}/ledger.parquet"] == found[f"{name}/model"] == "it is missing"
