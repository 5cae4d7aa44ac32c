"""jobs.verify: a sound run passes, and everything that is changed in its folder is found."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

import jobs.train
import jobs.verify
from jobs import _runner
from qa_lib import config
from qa_lib.data import embedded
from qa_lib.doctor import Finding
from qa_lib.errors import CheckpointError, ConfigError
from qa_lib.reporting.verify import verify
from qa_lib.runs.run_folder import RunFolder
from tests.support import tiny

pytestmark = pytest.mark.slow  # test_train.py proves a sound run; here one is made to be damaged


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    flags = f"""
        --storage {folder} --run-name sound --model.name {tiny.write_model(folder / "tiny")}
        --data.train-limit 40 --data.eval-limit 12 --data.max-length 112 --data.stride 32
        --train.global-batch 8 --train.micro-batch 4 --train.epochs 2
        --train.checkpoint-every-steps 6
    """
    jobs.train.JOB.execute(config.parse("train", flags.split()))
    return folder / "sound"


def findings_of(path: Path, *flags: str) -> dict[str, Finding]:
    moved = config.parse("verify", flags)
    return {finding.what: finding for finding in verify(RunFolder(str(path), "verify"), moved)}


def test_a_sound_run_is_proved_from_its_folder(sound: Path, tmp_path: Path, capsys):
    moved = shutil.copytree(sound, tmp_path / "moved")
    jobs.verify.JOB.execute(jobs.verify.JOB.parse([str(moved)]))
    printed = capsys.readouterr().out
    assert "FAULT" not in printed and "not checked" not in printed
    assert printed.count("ok  ") == 7  # two checkpoints, five files
    assert "2.00 epochs: each window as planned" in printed
    assert "7 of 7 checks passed, none failed" in printed


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_a_checkpoint(run: Path) -> str:
    file = max((run / "checkpoints").glob("step-*/state-00000-0000.safetensors"))
    flip(file)
    return f"checkpoints/{file.parent.name}"


def forget_a_manifest(run: Path) -> str:
    file = min((run / "checkpoints").glob("step-*/manifest.json"))
    file.unlink()
    return f"checkpoints/{file.parent.name}"


def train_a_window_twice(run: Path) -> str:
    ledger = pq.read_table(run / "ledger.parquet")
    pq.write_table(pa.concat_tables([ledger, ledger.slice(3, 1)]), run / "ledger.parquet")
    return "ledger.parquet"


def truncate_the_ledger(run: Path) -> str:
    os.truncate(run / "ledger.parquet", 200)
    return "ledger.parquet"


def truncate_the_predictions(run: Path) -> str:
    os.truncate(run / "predictions.json", 50)
    return "predictions.json"


def swap_two_steps(run: Path) -> str:
    ledger = pq.read_table(run / "ledger.parquet")
    step = ledger["step"].to_numpy().copy()
    first = step == 0
    step[first], step[step == 1] = 1, 0
    columns = {"step": step.astype(np.int32), "window_index": ledger["window_index"]}
    pq.write_table(pa.table(columns), run / "ledger.parquet")
    return "ledger.parquet"


def lose_a_step(run: Path) -> str:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[:4] + lines[5:]) + "\n")
    return "metrics.jsonl"


def answer_better(run: Path) -> str:
    path = run / "predictions.json"
    asked = json.loads(path.read_text())
    rows = embedded.corpus("eval").select(["id", "answers"]).to_pylist()
    gold = {row["id"]: row["answers"]["text"][0] for row in rows if row["id"] in asked}
    path.write_text(json.dumps(gold))
    return "predictions.json"


def change_a_weight(run: Path) -> str:
    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    weights["qa_outputs.bias"] = weights["qa_outputs.bias"] + 1
    save_file(weights, path, {"format": "pt"})
    return "model"


def lose_the_weights(run: Path) -> str:
    (run / "model" / "model.safetensors").unlink()
    return "model"


def leave_it_unfinished(run: Path) -> str:
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"status": "interrupted"}))
    return "result.json"


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_checkpoint,
        forget_a_manifest,
        train_a_window_twice,
        swap_two_steps,
        truncate_the_ledger,
        truncate_the_predictions,
        lose_a_step,
        answer_better,
        leave_it_unfinished,
    ],
)
def test_what_is_changed_is_named_and_nothing_else(
    sound: Path, tmp_path: Path, damage: Callable[[Path], str], monkeypatch
):
    monkeypatch.setattr("qa_lib.reporting.verify._check_stock_load", lambda *_: "not in this test")
    run = shutil.copytree(sound, tmp_path / "run")
    named = damage(run)
    wrong = [name for name, finding in findings_of(run).items() if finding.verdict == "fault"]
    assert wrong == [named]


def test_a_model_that_takes_long_to_load_is_not_called_wrong(sound: Path, monkeypatch):
    monkeypatch.setattr("qa_lib.reporting.verify._STOCK_LOAD_S", 0.01)
    notes = [each for each in findings_of(sound).values() if "did not load within" in str(each)]
    assert len(notes) == 1 and notes[0].verdict == "note"


@pytest.mark.parametrize("damage", [change_a_weight, lose_the_weights])
def test_a_changed_model_is_named(sound: Path, tmp_path: Path, damage, capsys):
    run = shutil.copytree(sound, tmp_path / "run")
    named = damage(run)
    with pytest.raises(CheckpointError, match=named) as caught:
        jobs.verify.JOB.execute(jobs.verify.JOB.parse([str(run)]))
    assert _runner.user_error(caught.value) is caught.value  # so the exit code is 2
    assert capsys.readouterr().out.count("FAULT") == 1


def test_sources_that_are_elsewhere_now_are_read_there(sound: Path, tmp_path: Path):
    pq.write_table(embedded.corpus("eval"), tmp_path / "eval.parquet")
    flag = "--data.eval-source"
    found = findings_of(sound, flag, str(tmp_path / "eval.parquet"))["predictions.json"]
    assert found.verdict == "good" and f"{tmp_path}/eval.parquet" in found.message
    found = findings_of(sound, flag, str(tmp_path / "nowhere.parquet"))["predictions.json"]
    assert found.verdict == "note" and "nowhere.parquet" in found.message


def test_without_the_questions_the_rest_is_checked(sound: Path, tmp_path: Path):
    found = findings_of(sound, "--data.source", str(tmp_path / "nowhere"))
    unchecked = {name for name, finding in found.items() if finding.verdict == "note"}
    assert unchecked == {"ledger.parquet", "predictions.json"}
    assert "was trained 2 to 2 times" in found["ledger.parquet"].message
    assert all(finding.verdict != "fault" for finding in found.values())


def test_what_an_earlier_version_did_not_tell_is_not_checked(sound: Path, tmp_path: Path):
    run = shutil.copytree(sound, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    del result["train_fingerprint"]
    (run / "result.json").write_text(json.dumps(result))
    found = findings_of(run)["ledger.parquet"]
    assert found.verdict == "note" and "train_fingerprint" in found.message


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="not a run folder"):
        findings_of(tmp_path)
