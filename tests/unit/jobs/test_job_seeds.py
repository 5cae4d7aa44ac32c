"""A job with several seeds: its runs, what is refused, and how a series goes on."""

from __future__ import annotations

import pytest

from jobs import evaluate
from jobs._runner import Job
from qa_lib import config
from qa_lib.config import Settings
from qa_lib.errors import ConfigError
from qa_lib.runs import lock
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder

RAN: list[int] = []
FAILS: set[int] = set()


def work(settings: Settings, folder: RunFolder) -> None:
    """Stand for a training: its score is its seed."""
    RAN.append(settings.seed)
    if settings.seed in FAILS:
        raise ConfigError("The power went.", "Go on.")
    folder.write_result(Evaluated(f1=70.0 + settings.seed, em=60.0), status="running")


JOB = Job("train", work, scores_answers=True)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RAN.clear()
    FAILS.clear()


def execute(storage, *flags: str) -> None:
    JOB.execute(config.parse("train", ["--skip-doctor", "--storage", str(storage), *flags]))


def test_every_seed_is_a_run_of_its_own(tmp_path, capsys):
    execute(tmp_path, "--seeds", "2", "--seed", "7")
    execute(tmp_path, "--seeds", "2")
    names = ["001-seed-7", "001-seed-8", "002-seed-0", "002-seed-1"]
    runs = sorted(path.name for path in tmp_path.iterdir())
    assert runs == [f"train-quickstart-{name}" for name in names]
    run = RunFolder(str(tmp_path / runs[1]), "train")
    assert "seed: 8" in run.read_text("config.yaml") and "seeds" not in run.read_text("config.yaml")
    first, _, _ = capsys.readouterr().out.partition("seed 0 of")
    assert ["mean", "77.50"] in [line.split()[:2] for line in first.splitlines()]


def test_a_series_waits_until_a_machine_that_wrote_one_of_its_runs_is_certainly_lost(
    tmp_path, monkeypatch
):
    waited = set()
    monkeypatch.setattr(lock, "outlast", lambda folder: waited.add(folder.name))
    execute(tmp_path, "--seeds", "2", "--run-name", "mine", "--resume", "auto")
    assert waited == {"mine-seed-0", "mine-seed-1"}


def test_a_series_goes_on_where_it_was_stopped(tmp_path, capsys):
    FAILS.add(1)
    flags = ["--seeds", "3", "--run-name", "mine"]
    with pytest.raises(ConfigError, match="The power went"):
        execute(tmp_path, *flags)
    said = capsys.readouterr().err
    assert "1 of 3 seeds are done" in said and "--run-name mine --resume" in said
    FAILS.clear()
    RAN.clear()
    execute(tmp_path, *flags, "--resume")
    assert RAN == [1, 2]
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in table if row[0] in "012"] == ["70.00", "71.00", "72.00"]


def test_a_series_goes_on_with_the_settings_that_it_began_with(tmp_path):
    execute(tmp_path, "--seeds", "2", "--run-name", "mine")
    RAN.clear()
    with pytest.raises(ConfigError, match="mine-seed-0 is done, with other settings: --train.epoc"):
        execute(tmp_path, "--seeds", "3", "--run-name", "mine", "--resume", "--train.epochs", "3")
    assert not RAN
    execute(tmp_path, "--seeds", "3", "--run-name", "mine", "--resume", "--train.max-failures", "1")
    assert RAN == [2]


def test_a_taken_name_is_refused_before_any_run(tmp_path):
    execute(tmp_path, "--run-name", "mine-seed-1")
    RAN.clear()
    with pytest.raises(ConfigError, match="mine-seed-1 is in use"):
        execute(tmp_path, "--seeds", "2", "--run-name", "mine")
    with pytest.raises(ConfigError, match="needs the name of the series"):
        execute(tmp_path, "--seeds", "2", "--resume")
    assert not RAN


def test_a_job_without_chance_refuses_seeds(tmp_path):
    settings = config.parse("evaluate", ["--seeds", "2", "--storage", str(tmp_path)])
    with pytest.raises(ConfigError, match="draws nothing at random"):
        evaluate.JOB.execute(settings)


def test_seeds_past_the_largest_are_refused_before_any_run(tmp_path):
    with pytest.raises(ConfigError, match="past the largest, 4294967295: use seed 4294967294"):
        execute(tmp_path, "--seeds", "2", "--seed", "4294967295")
    execute(tmp_path, "--seeds", "2", "--seed", "4294967294")
    assert RAN == [4294967294, 4294967295]
