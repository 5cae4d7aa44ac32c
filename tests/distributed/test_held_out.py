"""Evaluation on held-out articles during training, through Ray: kept over failures, and an end."""

from __future__ import annotations

import pytest

from qa_lib import evaluation
from qa_lib.data import load_questions
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import fine_tune
from tests.distributed.test_train import (
    Runs,
    after_checkpoint,
    assert_same_bits,
)
from tests.support.processes import training_workers

pytestmark = pytest.mark.usefixtures("ray_session")

HELD_OUT = ["--data.holdout-articles", "0.1", "--data.eval-limit", "30"]


class EvaluatedRuns(Runs):
    """Runs that evaluate on their way."""

    def train(self, name: str, *flags: str) -> RunFolder:
        settings = self.settings(name, *HELD_OUT, *flags)
        questions = load_questions(settings.data, "train")
        with RunFolder.open(settings, "train") as run:
            judge = evaluation.judge_of(settings)
            self.results[name] = fine_tune(settings, run, questions, judge=judge).fields()
        return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, ray_session) -> EvaluatedRuns:
    return EvaluatedRuns(tmp_path_factory.mktemp("held-out"))


def test_patience_ends_a_run_and_a_killed_worker_resets_nothing(runs):
    # Steps this small change no answer: the first evaluation stays the best.
    flags = ["--train.evaluate-every", "4", "--train.patience", "2"]
    with after_checkpoint(runs.storage / "patient", 4, lambda: training_workers()[0].kill()):
        run = runs.train("patient", *flags, "--train.learning-rate", "1e-12")
    result = runs.results["patient"]
    assert [entry["step"] for entry in result["evaluations"]] == [4, 8, 12]
    assert (result["steps"], result["best_step"], result["stopped_early"]) == (12, 4, True)
    rows = {row["step"]: row for row in run.read_metrics()}
    assert [step for step, row in rows.items() if "held_out_f1" in row] == [4, 8, 12]
    assert all("loss" in row for row in rows.values())
    best = run.read_bytes("best/step-000000004/model.safetensors")
    assert run.read_bytes("model/model.safetensors").equals(best)


@pytest.mark.slow  # two whole runs
def test_a_resumed_run_keeps_the_same_best_model_at_zero_3(runs):
    flags = ["--train.evaluate-every", "5", "--train.zero-stage", "3"]
    straight = runs.train("straight", *flags)
    with after_checkpoint(runs.storage / "killed", 10, lambda: training_workers()[0].kill()):
        killed = runs.train("killed", *flags)
    names = ("evaluations", "best_step", "best_held_out_f1", "stopped_early")
    expected, found = runs.results["straight"], runs.results["killed"]
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}
    assert expected["num_evaluations"] == -(-expected["steps"] // 5)
    assert_same_bits(killed, straight)
