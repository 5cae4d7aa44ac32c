"""A staged recovery, taught inside and with questions of the teacher's alone: one run of it all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from qa_lib import adjust, config, models
from qa_lib.adjust import Plan, pipeline
from qa_lib.reporting import verify
from qa_lib.runs.run_folder import RunFolder
from tests.support import tiny

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.slow]


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("recovery")
    parent = tiny.write_model(folder / "parent", num_layers=3)
    return f"""
        --storage {folder} --run-name mine --model.name {parent}
        --data.train-limit 24 --data.eval-limit 12 --data.max-length 112 --data.stride 32
        --adjust.num-layers 1 --adjust.intermediate-size 8 --adjust.calibration-windows 8
        --adjust.steps 2 --adjust.recover --adjust.stages 2
        --train.num-workers 1 --train.zero-stage 3 --train.global-batch 8 --train.micro-batch 8
        --train.precision fp32 --train.attention sdpa --train.epochs 1
        --train.hidden-weight 1 --train.relation-weight 1
        --train.teacher-only-source embedded --train.teacher-only-limit 16
    """.split()


@pytest.fixture(scope="module")
def run(flags: list[str]) -> RunFolder:
    settings = config.parse("adjust", flags)
    with RunFolder.open(settings, "adjust") as run:
        pipeline.adjust_and_recover(settings, run)
    return run


def test_stages_are_cut_in_equal_ratios_and_each_is_recovered(run: RunFolder):
    result = run.read_result()
    (first,) = result["stages"]
    assert (len(first["kept_layers"]), first["intermediate_size"]) == (2, 16)
    assert first["num_window_passes"] == result["num_window_passes"] == result["num_train_windows"]
    assert set(result["kept_layers"]) < set(first["kept_layers"])
    parent = models.load(run.read_config().model.name)
    assert result["num_parent_parameters"] == models.num_parameters(parent)
    assert models.load(run.path).config.num_hidden_layers == 1


def test_each_stages_plan_replays_to_the_byte(run: RunFolder):
    name = run.read_config().model.name
    for folder in (RunFolder(run.url("stages/1"), "adjust"), run):
        replayed = adjust.apply(models.load(name), Plan.read(folder)).state_dict()
        written = load_file(f"{folder.root}/adjusted/model.safetensors")
        assert written.keys() == replayed.keys()
        assert all(np.array_equal(written[key], replayed[key].numpy()) for key in written)
        name = folder.path


def test_the_ledger_has_labelled_windows_and_those_of_the_teacher(run: RunFolder):
    result = run.read_result()
    assert result["num_train_questions"] == 24
    assert result["num_teacher_only_questions"] == 16
    assert result["num_teacher_only_known"] == 24
    assert result["num_train_windows"] >= 40
    findings = {finding.what: finding for finding in verify.verify(run)}
    assert findings["ledger.parquet"].verdict == "good", findings["ledger.parquet"]


def test_a_resumed_run_repeats_no_stage_and_ends_in_the_same_bits(flags: list[str], run: RunFolder):
    before = load_file(f"{run.root}/model/model.safetensors")
    plan = Path(run.root) / "stages/1/plan.json"
    written = plan.stat().st_mtime_ns
    settings = config.parse("adjust", [*flags, "--resume"])
    with RunFolder.open(settings, "adjust") as resumed:
        pipeline.adjust_and_recover(settings, resumed)
    after = load_file(f"{run.root}/model/model.safetensors")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert plan.stat().st_mtime_ns == written
