"""jobs.tune end to end, and what a kill of the whole job leaves to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import jobs.tune
from qa_lib import config
from qa_lib.data import load_questions
from qa_lib.search.journal import JOURNAL
from tests.support import tiny_search

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    settings = config.parse("tune", tiny_search.flags(folder))
    titles = load_questions(settings.data, "holdout").titles
    tiny_search.write_parent(folder / "parent", titles)
    return folder


FLAGS = {
    "drawn": (tiny_search.flags, ()),
    "one-shot": (tiny_search.one_shot_flags, ("--search.speeds", "1.2", "1.6")),
}


def command(folder: Path, how: str, *flags: str) -> list[str]:
    of, more = FLAGS[how]
    named = ("--run-name", how, "--search.num-trials", "6")
    return [sys.executable, "-m", "jobs.tune", *of(folder), *more, *named, *flags]


def run(folder: Path, how: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, how, *flags),
        cwd=REPOSITORY,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )


def events(run_folder: Path) -> list[dict[str, Any]]:
    """Return the events that the journal tells of, in order."""
    path = run_folder / JOURNAL
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def finished(run_folder: Path) -> list[tuple[int, int]]:
    """Return (trial, rung) of each rung that the journal tells of, in order."""
    return [(e["number"], e["rung"]) for e in events(run_folder) if e["event"] == "finished"]


def test_a_dry_run_counts_and_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    flags = [*tiny_search.flags(folder), "--dry-run", "json", "--run-name", "dry"]
    jobs.tune.JOB.execute(config.parse("tune", flags))
    printed = capsys.readouterr().out
    plan = json.loads(printed[printed.index("{") :])
    assert plan["windows_per_rung"] == [0, 32, 64]
    assert plan["num_trials_per_rung"] == [4, 2, 1]
    assert plan["num_sizes"] == 4 and not plan["trains_parent"]
    assert not (folder / "dry").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", FLAGS)
def test_a_killed_search_goes_on_and_ends_with_a_model_scored_once(folder: Path, how: str):
    mine = folder / how
    job = subprocess.Popen(
        command(folder, how),
        cwd=REPOSITORY,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.01):
            if len(finished(mine)) >= 4:
                job.kill()
                return

    watcher = threading.Thread(target=kill)
    watcher.start()
    try:
        assert job.wait(timeout=200) == -signal.SIGKILL, "the search ended before it was killed"
    finally:
        over.set()
        watcher.join()
    before = finished(mine)
    known = [event for event in events(mine) if event["event"] != "finished"]
    assert not (mine / "model").exists()

    done = run(folder, how, "--resume")
    assert done.returncode == 0, done.stderr
    after = finished(mine)
    assert after[: len(before)] == before
    assert set(Counter(after).values()) == {1}, "a finished rung was repeated"
    assert [e for e in events(mine) if e["event"] != "finished"][: len(known)] == known
    scored = [event for event in events(mine) if event["event"] == "scored"]
    told = [(event["measure"], json.dumps(one)) for event in scored for one in event["sizes"]]
    assert len(told) == len(set(told)), "sizes were cut and scored twice"
    result = json.loads((mine / "result.json").read_text())
    assert result["status"] == "done"
    assert result["num_trials"] == 6
    assert result["num_questions"] == 24  # dev, and by the final model alone
    assert {"f1", "em", "front", "rank_correlations", "search_windows_saved"} <= result.keys()
    table = pq.read_table(mine / "trials.parquet")
    assert table.num_rows == 7
    assert {"rung", "f1", "latency_ms", "num_parameters", "status"} <= set(table.column_names)
    plan = json.loads((mine / "plan.json").read_text())
    model = json.loads((mine / "model" / "config.json").read_text())
    assert model["num_hidden_layers"] == len(plan["keep"]["layers"]) == result["num_layers"]
    assert (mine / "pareto.png").read_bytes().startswith(b"\x89PNG")
    report = (mine / "report.html").read_text()
    assert 'id="figure-front"' in report and "<script src=" not in report
    assert not (mine / "tune").exists()
    if how == "one-shot":
        asked = {model.get("asked_speedup"): model for model in result["front"]}
        assert asked[1.6]["f1_recovered"] is not None
        assert Path(asked[1.6]["model"], "model.safetensors").is_file()
        assert asked[1.2]["f1_recovered"] == result["f1"]
        for told in asked[1.2], asked[1.6]:
            config = json.loads(Path(told["model"], "config.json").read_text())
            assert told["intermediate_size"] == config["intermediate_size"]
            assert told["num_layers"] == config["num_hidden_layers"]
        for size in "num_parameters", "intermediate_size", "kept_layers", "hidden_size":
            assert asked[1.2][size] == result[size]
        assert result["recovery_learning_rate"] >= result["learning_rate"]
    assert not list((mine / "trials").glob("*/checkpoints"))
