"""What --dry-run prints for people, and for scripts."""

from __future__ import annotations

import json

import pytest

from jobs import _preview, train
from qa_lib import config

SHORT = """--data.train-limit 40 --data.eval-limit 12 --data.max-length 64 --data.stride 24
    --train.precision fp32 --train.attention sdpa --train.max-steps 4""".split()


def test_a_page_says_rows_steps_memory_and_time(tmp_path, capsys):
    train.JOB.execute(config.parse("train", [*SHORT, "--storage", str(tmp_path), "--dry-run"]))
    page = capsys.readouterr().out
    lines = {line.split()[0]: line for line in page.splitlines() if line}
    assert "40 to train on, 12 to score" in lines["questions"]
    assert "4 optimizer steps of 8 windows" in lines["steps"]
    assert "MiB of training state a worker" in lines["memory"]
    assert "by steps taken here" in lines["time"] and "cost" not in lines
    assert "{" not in page and not list(tmp_path.iterdir())


def test_json_holds_every_setting_and_figure(tmp_path, capsys):
    flags = [*SHORT, "--storage", str(tmp_path), "--dry-run", "json"]
    train.JOB.execute(config.parse("train", flags))
    settings, _, plan = capsys.readouterr().out.rpartition("\n\n")
    assert "train_limit: 40" in settings
    assert json.loads(plan)["steps"] == 4


def test_a_gpu_has_a_cost():
    settings = config.parse("train", ["--cluster.gpu", "T4"])
    page = _preview.page(settings, "train", {"estimated_train_seconds": 7200})
    assert "2.0 hours of training, by arithmetic" in page
    assert "on demand" in page


@pytest.mark.parametrize(
    ("flags", "value"),
    [(["--dry-run"], True), (["--dry-run", "json"], "json"), (["--dry-run=false"], False)],
)
def test_dry_run_takes_a_word(flags, value):
    assert config.parse("train", flags).dry_run == value
