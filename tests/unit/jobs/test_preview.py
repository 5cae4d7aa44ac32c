"""What --dry-run prints for people, and for scripts."""

from __future__ import annotations

import importlib
import json
import os
import pty
import subprocess
import sys

import pytest

from jobs import _preview, train
from qa_lib import config, training
from qa_lib.data import load_questions
from qa_lib.errors import TrainError
from tests.support.tiny import write_model

SHORT = """--data.train-limit 40 --data.eval-limit 12 --data.max-length 64 --data.stride 24
    --train.precision fp32 --train.attention sdpa --train.max-steps 4""".split()


def test_a_page_says_rows_steps_memory_and_time(tmp_path, capsys):
    train.JOB.execute(
        config.parse("train", [*SHORT, "--storage", str(tmp_path), "--dry-run", "page"])
    )
    page = capsys.readouterr().out
    lines = {line.split()[0]: line for line in page.splitlines() if line}
    assert "40 to train on, 12 to score" in lines["questions"]
    assert "4 optimizer steps of 8 windows" in lines["steps"]
    assert "MiB of training state a worker" in lines["memory"]
    assert "by steps taken here" in lines["time"] and "cost" not in lines
    assert "{" not in page and not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--dry-run", "json"], ["--dry-run"]])
def test_scripts_get_every_setting_and_figure(tmp_path, capsys, flags):
    train.JOB.execute(config.parse("train", [*SHORT, "--storage", str(tmp_path), *flags]))
    settings, _, plan = capsys.readouterr().out.rpartition("\n\n")
    assert "train_limit: 40" in settings
    assert json.loads(plan)["steps"] == 4


def test_questions_for_the_teacher_alone_are_counted_and_need_a_teacher(tmp_path, capsys):
    teacher = write_model(tmp_path / "teacher")
    more = "--train.teacher-only-source embedded --train.teacher-only-limit 24".split()
    settings = config.parse("train", [*SHORT, *more, "--model.name", teacher])
    questions = load_questions(settings.data, "train")
    with pytest.raises(TrainError, match="needs a teacher whose logits count"):
        training.describe(settings, questions)
    train = settings.train.model_copy(update={"teacher": teacher, "max_steps": None, "epochs": 1})
    plan = training.describe(settings.model_copy(update={"train": train}), questions)
    assert (plan["num_train_questions"], plan["num_teacher_only_questions"]) == (40, 24)
    assert plan["num_train_windows"] > plan["num_teacher_only_windows"] >= 24
    assert plan["steps"] == -(-plan["num_train_windows"] // train.global_batch)
    assert "24 for the teacher alone" in _preview.page(settings, "train", plan)


@pytest.mark.parametrize("name", ["answer", "compare", "verify", "report", "doctor"])
def test_a_job_without_figures_has_a_page_too(name, capsys):
    job = importlib.import_module(f"jobs.{name}").JOB
    words = ["runs/a", "runs/b"] if name == "compare" else ["--model.name", "runs/a, runs/b"]
    job.execute(job.parse([*words, "--dry-run", "page"]))
    page = capsys.readouterr().out
    assert f"{name}, recipe quickstart" in page and "runs/a, runs/b" in page
    assert _preview.MORE in page and "embedded" not in page


def test_a_gpu_has_a_cost():
    settings = config.parse("train", ["--cluster.gpu", "T4", "--seeds", "2"])
    page = _preview.page(settings, "train", {"estimated_train_seconds": 7200, "device": "cuda"})
    assert "2.0 hours of training, for each of 2 seeds, by arithmetic" in page
    assert "on demand" in page


def test_a_terminal_gets_the_page():
    """As `qa train --dry-run` by a person; the settings are enough to end before any model."""
    controller, terminal = pty.openpty()
    script = "import sys; from qa_lib import config; from jobs import _preview; print("
    script += "_preview.is_page(config.parse('train', ['--dry-run'])))"
    subprocess.run([sys.executable, "-c", script], stdout=terminal, check=True)
    os.close(terminal)
    with open(controller, "rb") as shown:
        assert shown.readline().strip() == b"True"


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        (["--dry-run"], True),
        (["--dry-run", "json"], "json"),
        (["--dry-run", "page"], "page"),
        (["--dry-run=false"], False),
    ],
)
def test_dry_run_takes_a_word(flags, value):
    assert config.parse("train", flags).dry_run == value
