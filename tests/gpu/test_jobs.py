"""Every job on the GPU, as a user runs it: what it computes, how fast, and in how much memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.gpu.conftest import BRIEFLY, ON_CPU, REPOSITORY

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

T4_BYTES = 15e9  # what a T4 of 16 GB leaves a process beside CUDA's own
FULL_PRECISION = ["--train.precision", "fp32", "--train.micro-batch", "8"]


def test_training_runs_on_the_device_with_a_micro_batch_that_was_measured(jobs, trained, device):
    assert trained["device"].startswith(device) and trained["eval_device"] == device
    assert trained["precision"] in (("bf16", "fp16") if not ON_CPU else ("fp32", "bf16"))
    assert 16 % trained["micro_batch"] == 0
    losses = jobs.losses("trained")
    assert len(losses) == 24 and sum(losses[-6:]) < sum(losses[:6])
    assert trained["num_skipped_steps"] <= (4 if trained["precision"] == "fp16" else 0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_loses_what_float32_loses(jobs, device, precision):
    if precision == "fp16" and ON_CPU:
        pytest.skip("DeepSpeed has no fp16 on a cpu")
    flags = [*BRIEFLY, "--train.micro-batch", "8", "--train.dropout", "0", "--train.max-steps", "8"]
    if not (jobs.storage / "full").exists():
        jobs("train", "full", *flags, "--train.precision", "fp32")
    jobs("train", precision, *flags, "--train.precision", precision)
    losses, full = jobs.losses(precision), jobs.losses("full")
    # fp16's scale of 2^16 may skip the first steps: the same windows, the weights of a step before.
    assert losses[:3] == pytest.approx(full[:3], rel=0.1)
    assert losses == pytest.approx(full, rel=0.35)
    result = json.loads((jobs.storage / precision / "result.json").read_text())
    assert result["num_skipped_steps"] <= 4, "the scale is lowered until steps are taken"


def test_memory_stays_within_what_the_dry_run_says(jobs, trained):
    micro_batch = trained["micro_batch"]
    flags = [*BRIEFLY, "--train.micro-batch", str(micro_batch)]
    plan = jobs.plan("train", *flags, "--train.precision", trained["precision"])
    states = sum(plan["state_bytes_per_rank"].values())
    predicted = states + micro_batch * plan["activation_bytes_per_window"]
    if ON_CPU:  # a process's resident memory holds its libraries too
        assert states < trained["peak_memory_bytes"]
    else:
        # DeepSpeed's reduce bucket, 2^25 elements, comes on top of the prediction.
        assert 0.3 * predicted < trained["peak_memory_bytes"] < predicted + 4 * 2**25 + 2**28


def test_a_killed_run_goes_on_from_its_checkpoint(jobs):
    flags = [*BRIEFLY, *FULL_PRECISION, "--train.dropout", "0.1"]
    jobs("train", "straight", *flags)
    driver = subprocess.Popen(
        jobs.command("train", "killed", *flags),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    checkpoints = jobs.storage / "killed" / "checkpoints"
    while not list(checkpoints.glob("*/manifest.json")):
        assert driver.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    result = jobs("train", "killed", *flags, "--resume")
    assert (result["status"], result["steps"]) == ("done", 24)
    assert jobs.losses("killed") == pytest.approx(jobs.losses("straight"), rel=0.02)


def test_evaluation_answers_as_on_a_cpu(jobs, trained, device):
    model = ["--model.name", str(jobs.storage / "trained"), "--data.eval-limit", "64"]
    here = jobs("evaluate", "on-device", *model)
    there = jobs("evaluate", "on-cpu", *model, "--train.device", "cpu")
    assert here["eval_device"] == device and there["eval_device"] == "cpu"
    answers = [
        json.loads((jobs.storage / name / "predictions.json").read_text())
        for name in ("on-device", "on-cpu")
    ]
    same = sum(answers[1][key] == text for key, text in answers[0].items())
    assert same >= 0.95 * len(answers[0])
    assert here["f1"] == pytest.approx(there["f1"], abs=2)


def test_adjusting_measures_latencies_on_the_device(jobs, trained, device):
    result = jobs(
        "adjust",
        "adjusted",
        *("--model.name", str(jobs.storage / "trained"), "--adjust.intermediate-size", "768"),
        *("--adjust.calibration-windows", "64", *BRIEFLY),
    )
    assert result["latency_device"] == device
    assert 0 < result["speedup"] < 10
    assert result["intermediate_size"] == 768


def test_a_teachers_logits_are_computed_on_the_device(jobs, trained):
    teacher = ["--train.teacher", str(jobs.storage / "trained"), "--train.distill-weight", "1.0"]
    result = jobs("train", "taught", *BRIEFLY, *teacher, "--train.micro-batch", "16")
    assert result["status"] == "done"
    losses = jobs.losses("taught")
    assert sum(losses[-6:]) < sum(losses[:6])


def test_an_exported_model_answers_alike_under_the_cuda_provider(jobs, trained):
    import numpy as np
    import onnxruntime

    jobs("export", "exported", "--model.name", str(jobs.storage / "trained"), *BRIEFLY[2:4])
    provider = "CPUExecutionProvider" if ON_CPU else "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {provider}; onnxruntime-gpu has")
    path = str(jobs.storage / "exported" / "model" / "onnx" / "model.onnx")
    tokens = np.random.default_rng(1).integers(1000, 2000, (4, 96))
    logits = []
    for used in (provider, "CPUExecutionProvider"):
        session = onnxruntime.InferenceSession(path, providers=[used])
        assert session.get_providers()[0] == used, "it fell back"
        feeds = {given.name: np.ones_like(tokens) for given in session.get_inputs()}
        logits.append(session.run(None, feeds | {"input_ids": tokens}))
    for one, other in zip(*logits, strict=True):
        assert np.abs(one - other).max() < 2e-2


def test_two_gpus_lose_what_one_loses(jobs):
    """Over nccl, which a single GPU has no use for."""
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("this machine has fewer than two GPUs")
    flags = [*BRIEFLY, *FULL_PRECISION, "--train.dropout", "0"]
    jobs("train", "one", *flags)
    for stage in ("0", "3"):
        name = f"two-{stage}"
        jobs("train", name, *flags, "--train.num-workers", "2", "--train.zero-stage", stage)
        assert jobs.losses(name) == pytest.approx(jobs.losses("one"), rel=1e-2)


def test_recipe_t4_stays_within_a_t4(jobs):
    """The recipe itself, fp16 and a measured micro-batch, where as much is free as on a T4."""
    if ON_CPU:
        pytest.skip("a cpu has no memory of a GPU to take away")
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    taken = torch.empty(max(0, total - int(T4_BYTES) - 2**30), dtype=torch.uint8, device="cuda")
    result = jobs(
        "train",
        "t4",
        *("--recipe", "t4", "--data.source", "embedded", "--cluster.gpu", "none"),
        *("--train.max-steps", "30", "--data.eval-limit", "64"),
    )
    assert taken.numel() >= 0
    assert (result["status"], result["precision"]) == ("done", "fp16")
    assert result["peak_memory_bytes"] < T4_BYTES
