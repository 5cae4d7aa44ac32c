"""jobs.adjust end to end: table, plan, proof, stock model, replay, and every refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jobs.adjust
from qa_lib import config, models
from qa_lib.models.latency import affordable

REPOSITORY = Path(__file__).resolve().parents[2]


def adjust(storage: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.adjust", "--storage", str(storage), *flags],
        cwd=REPOSITORY,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )


SMALL = ("--data.eval-limit", "20", "--adjust.calibration-windows", "8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("runs")
    flags = ("--adjust.num-layers", "2", "--adjust.intermediate-size", "256")
    done = adjust(storage, "--run-name", "small", *SMALL, *flags)
    assert done.returncode == 0, done.stderr
    assert "intermediate size" in done.stdout and "coupled group" in done.stdout
    return storage / "small"


@pytest.mark.slow
def test_the_run_holds_plan_model_scores_and_costs(run: Path):
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "done"
    assert result["num_questions"] == 20
    assert {"f1_surgery", "f1", "em"} <= result.keys()
    assert "f1_before" not in result  # this parent was never trained to answer
    assert result["f1"] == result["f1_surgery"]
    assert result["num_parameters"] < result["num_parent_parameters"]
    shapes = [(each["windows"], each["tokens"]) for each in result["latencies"]]
    assert shapes[:2] == [(1, 384), (1, 128)]
    for shape, one in zip(shapes[2:], result["latencies"][:2], strict=True):
        seconds = {name: one[f"{name}_ms"] / 1e3 for name in ("parent", "child")}
        assert shape == (affordable(32, seconds), one["tokens"])  # fewer where passes are slow
    assert result["proof"]["max_logit_error"] < 1e-5
    written = json.loads((run / "model" / "config.json").read_text())
    assert (written["num_hidden_layers"], written["intermediate_size"]) == (2, 256)
    assert (run / "model" / "README.md").exists()
    plan = json.loads((run / "plan.json").read_text())
    assert plan["parent_sha256"] == models.fingerprint("embedded")


@pytest.mark.slow
def test_replaying_the_plan_gives_the_same_bytes(run: Path):
    flags = ("--adjust.plan", str(run / "plan.json"), "--run-name", "again")
    done = adjust(run.parent, *SMALL, *flags)
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "config.json"):
        again = run.parent / "again" / "model" / name
        assert again.read_bytes() == (run / "model" / name).read_bytes()


@pytest.mark.slow
def test_recovery_distils_the_parent_into_the_adjusted_model(run: Path):
    flags = ("--model.name", str(run), "--adjust.num-layers", "1", "--adjust.recover")
    flags += ("--adjust.vocabulary", "corpus")  # the teacher numbers its tokens otherwise
    short = ("--data.train-limit", "48", "--train.max-steps", "3", "--run-name", "recovered")
    done = adjust(run.parent, *SMALL, *flags, *short)
    assert done.returncode == 0, done.stderr
    result = json.loads((run.parent / "recovered" / "result.json").read_text())
    assert {"f1_before", "f1_surgery", "f1"} <= result.keys()
    assert result["steps"] == 3
    assert result["num_teacher_windows_computed"] > 0
    surgery, now = (
        (run.parent / "recovered" / name / "model.safetensors").read_bytes()
        for name in ("adjusted", "model")
    )
    assert len(surgery) == len(now) and surgery != now
    assert result["proof"]["num_tokens"] > 1000
    config = json.loads((run.parent / "recovered" / "model" / "config.json").read_text())
    tokenizer = models.load_tokenizer(str(run.parent / "recovered"))
    assert config["vocab_size"] == len(tokenizer) == result["vocabulary_size"] < 5000

    files = ("adjusted/model.safetensors", "plan.json", "result.json", "config.yaml")
    written = [(run.parent / "recovered" / name).stat().st_mtime_ns for name in files]
    refused = adjust(run.parent, *SMALL, *flags, *short, "--resume", "--seed", "7")
    assert refused.returncode == 2 and "--seed 0, not --seed 7" in refused.stderr, refused.stderr
    assert [(run.parent / "recovered" / name).stat().st_mtime_ns for name in files] == written


def test_a_dry_run_prints_the_table_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = ["--storage", str(tmp_path), "--dry-run", "--adjust.hidden-size", "288"]
    flags += ["--adjust.vocabulary", "corpus"]
    jobs.adjust.JOB.execute(config.parse("adjust", flags))
    printed = capsys.readouterr().out
    for part in (
        "hidden size",
        "288",
        "30,522",
        "4,456",
        "GFLOPs",
        "predicted ms",
        "attention.self.key",
    ):
        assert part in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--adjust.num-layers", "9"), "--adjust.num-layers 6"),
        (("--adjust.hidden-size", "290"), "--adjust.hidden-size 288"),
        (("--adjust.num-heads", "9"), "--adjust.hidden-size 288"),
        (("--adjust.keep-layers", "0", "6"), "--adjust.keep-layers 0 5"),
        ((), "Nothing is to be adjusted"),
        (("--adjust.plan", "absent.json"), "cannot be read"),
        (("--adjust.plan", "absent.json", "--adjust.num-layers", "2"), "exclude each other"),
        (("--adjust.plan", "absent.json", "--adjust.vocabulary", "corpus"), "exclude each other"),
        (("--adjust.plan", "absent.json", "--adjust.ragged"), "exclude each other"),
        (("--adjust.drop-attention", "1"), "needs adjust.ragged"),
        (("--adjust.ragged",), "Nothing is to be adjusted"),
    ],
)
def test_the_impossible_exits_2_and_names_what_is_possible(
    flags: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["jobs.adjust", "--storage", str(tmp_path), *flags])
    assert jobs.adjust.JOB.exit_code() == 2
    stderr = capsys.readouterr().err
    assert says in stderr
    assert "Traceback" not in stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_plan_of_another_checkpoint_exits_2(run: Path, tmp_path: Path):
    flags = ("--adjust.plan", str(run / "plan.json"), "--model.name", str(run))
    done = adjust(tmp_path, *flags)
    assert done.returncode == 2, done.stderr
    assert "another checkpoint" in done.stderr
