"""A ragged model trains like any other: DeepSpeed, checkpoints, resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from qa_lib import config, evaluation, models
from qa_lib.data import load_questions
from qa_lib.models import card, ragged
from qa_lib.models.ragged import Blocks
from qa_lib.reporting import verify
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import fine_tune
from tests.support import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

BLOCKS = Blocks(num_heads=(2, 0, 1), intermediate_size=(32, 8, 0))


def test_a_ragged_model_is_trained_resumed_written_and_evaluated(tmp_path: Path):
    name = tiny.write_model(tmp_path / "ragged", num_layers=3, blocks=BLOCKS)
    flags = f"""
        --storage {tmp_path} --run-name mine --model.name {name}
        --data.train-limit 32 --data.eval-limit 12 --data.max-length 112 --data.stride 32
        --train.num-workers 1 --train.zero-stage 2 --train.global-batch 8 --train.micro-batch 8
        --train.precision fp32 --train.max-steps 4 --train.checkpoint-every-steps 1
    """.split()
    settings = config.parse("train", flags)
    questions = load_questions(settings.data, "train")
    with RunFolder.open(settings, "train") as run:
        fine_tune(settings, run, questions, last_step=2)
    resumed = config.parse("train", [*flags, "--resume"])
    with RunFolder.open(resumed, "train") as run:
        result = fine_tune(resumed, run, questions)
    steps = [(row["step"], row["redone"]) for row in run.read_metrics() if "step" in row]
    assert steps == [(step, False) for step in range(1, 5)], "it began again, or left steps out"
    assert result.zero_stage == 2

    trained = models.load(run.path)
    assert ragged.blocks_of(trained.config) == BLOCKS
    before, after = (load_file(f"{p}/ragged.safetensors") for p in (name, run.url("model")))
    assert before.keys() == after.keys()
    constant = "bert.encoder.layer.1.attention.output.dense.bias"
    assert not np.array_equal(before[constant], after[constant]), "the block did not learn"
    scores = evaluation.evaluate_held_out(settings, run, run.url("model"))
    assert scores.num_questions == 12

    run.write_result(result, scores)
    card.write_card(run, settings)
    assert "stock transformers cannot load it" in run.read_text("model/README.md")
    assert "qa_lib.models.load" in card.how_to_load(run)
    assert all(finding.verdict == "good" for finding in verify.verify(run)), (
        "a sound run fails verification"
    )
    weights = load_file(run.url("model/ragged.safetensors"))
    weights[constant][0] = np.nan
    save_file(weights, run.url("model/ragged.safetensors"))
    run.write_result(Evaluated(model_fingerprint=models.fingerprint(run.url("model"))))
    wrong = [finding for finding in verify.verify(run) if finding.verdict == "fault"]
    assert "not finite" in wrong[-1].message
