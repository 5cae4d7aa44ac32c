"""The train and evaluate jobs end to end, on the embedded data and model, through Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jobs import evaluate, train
from qa_lib import config, windows
from qa_lib.data import load_questions
from qa_lib.reporting.verify import verify
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import dataset, teacher
from tests.support import sockets

pytestmark = pytest.mark.usefixtures("ray_session")

# Windows of 64 tokens: the passages take several each, and the steps are quick.
FLAGS = """
    --data.train-limit 40 --data.eval-limit 12 --data.max-length 64 --data.stride 24
    --train.global-batch 8 --train.micro-batch 4 --train.max-steps 6 --train.epochs 3
    --train.zero-stage 2
""".split()

EXPOSED: set[str] = set()  # what listened beyond this machine while `trained` was made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> RunFolder:
    storage = str(tmp_path_factory.mktemp("runs"))
    told = ["--storage", storage, "--run-name", "first", "--track", "tensorboard"]
    settings = config.parse("train", [*FLAGS, *told])
    with sockets.exposed(psutil.Process()) as exposed:
        train.JOB.execute(settings)
    EXPOSED.update(exposed)
    return RunFolder(f"{storage}/first", "train")


def test_the_result_counts_what_was_trained_and_scored(trained: RunFolder):
    result = trained.read_result()
    assert result["status"] == "done"
    assert result["num_train_questions"] == 40
    assert result["num_questions"] == 12
    assert result["num_train_windows"] > 40
    assert result["num_windows"] > 12
    assert result["steps"] == 6
    assert result["num_window_passes"] == 48
    assert (result["world_size"], result["zero_stage"]) == (1, 2)
    assert 0 <= result["em"] <= result["f1"] <= 100
    assert result["num_parameters"] == 22_566_146
    assert [row["step"] for row in trained.read_metrics()] == [1, 2, 3, 4, 5, 6]


def test_a_tracker_gets_every_step_and_the_scores(trained: RunFolder):
    (events,) = Path(trained.root, "tensorboard").glob("events.*")
    found = EventAccumulator(str(events)).Reload()
    losses = [(each.step, pytest.approx(each.value, abs=1e-5)) for each in found.Scalars("loss")]
    assert losses == [(row["step"], row["loss"]) for row in trained.read_metrics()]
    (f1,) = found.Scalars("f1")
    assert (f1.step, f1.value) == (6, pytest.approx(trained.read_result()["f1"], abs=1e-4))


def test_a_local_run_listens_on_loopback_alone(trained: RunFolder):
    assert EXPOSED == set()


def test_the_report_is_drawn_at_the_end(trained: RunFolder):
    assert f'data-field="f1">{trained.read_result()["f1"]:.2f}<' in trained.read_text("report.html")
    assert trained.read_result()["peak_memory_bytes"] > 2**27


def test_the_ledger_holds_each_window_once(trained: RunFolder):
    ledger = pq.read_table(f"{trained.root}/ledger.parquet")
    assert ledger.num_rows == 48
    indices = ledger["window_index"].to_numpy()
    assert len(np.unique(indices)) == 48  # six steps are less than an epoch


@pytest.mark.slow  # `verify` below does it too
def test_the_model_loads_in_a_process_that_knows_nothing_of_us(trained: RunFolder, tmp_path: Path):
    code = """
import sys
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
model = AutoModelForQuestionAnswering.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
logits = model(**tokenizer("Who?", "Ann did.", return_tensors="pt")).start_logits
assert logits.isfinite().all() and "qa_lib" not in sys.modules
"""
    command = [sys.executable, "-c", code, trained.url("model")]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    assert not list(Path(trained.url("model")).glob("*.bin"))


def test_the_card_holds_the_figures_of_the_result(trained: RunFolder):
    card, result = trained.read_text("model/README.md"), trained.read_result()
    assert f"| F1 | {result['f1']:.2f} |" in card
    assert f"| training windows | {result['num_train_windows']} |" in card


@pytest.mark.slow
def test_evaluating_the_run_gives_its_own_score(trained: RunFolder, tmp_path: Path):
    flags = [*FLAGS, "--storage", str(tmp_path), "--run-name", "again"]
    evaluate.JOB.execute(config.parse("evaluate", [*flags, "--model.name", trained.path]))
    again, first = RunFolder(f"{tmp_path}/again", "evaluate"), trained.read_result()
    result = again.read_result()
    assert (result["f1"], result["em"]) == (first["f1"], first["em"])
    predictions = json.loads(again.read_text("predictions.json"))
    assert predictions == json.loads(trained.read_text("predictions.json"))
    assert len(predictions) == 12


def test_the_run_is_proved_anew_from_its_folder(trained: RunFolder):
    findings = {finding.what: finding for finding in verify(RunFolder(trained.path, "verify"))}
    assert [str(each) for each in findings.values() if each.verdict != "good"] == []
    assert {"ledger.parquet", "metrics.jsonl", "predictions.json", "model"} < set(findings)
    assert "6 steps" in findings["ledger.parquet"].message


def test_a_teacher_is_asked_once(trained: RunFolder, tmp_path: Path):
    flags = [*FLAGS, "--storage", str(tmp_path), "--train.teacher", trained.path]
    settings = config.parse("train", flags)
    questions = load_questions(settings.data, "train").table
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    window_set = dataset.tokenize(questions, settings.model.name, spec, offsets=False)
    _, first = teacher.attach(settings, window_set)
    assert first["num_teacher_windows_computed"] == window_set.num_windows
    _, second = teacher.attach(settings, window_set)
    assert second["num_teacher_windows_computed"] == 0
    assert second["num_teacher_windows_cached"] == window_set.num_windows
    assert second["teacher_logits"] == first["teacher_logits"]


def test_dry_run_plans_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train.JOB.execute(
        config.parse("train", [*FLAGS, "--storage", str(tmp_path / "runs"), "--dry-run", "json"])
    )
    plan = json.loads(capsys.readouterr().out.rpartition("\n\n")[2])
    assert plan["steps"] == 6
    assert plan["num_train_questions"] == 40
    # ZeRO 2 with one rank: weights and gradients whole, two moments and a master in fp32.
    assert plan["state_bytes_per_rank"]["optimizer"] == 12 * plan["num_parameters"]
    assert not (tmp_path / "runs").exists()
