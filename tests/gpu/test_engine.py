"""DeepSpeed on the GPU: every precision and ZeRO stage loses what a CPU loses in float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.conftest import ON_CPU, REPOSITORY
from tests.support.gpu_rank import PRECISIONS

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

STAGES = (0, 1, 2, 3)
TOLERANCE = {"fp32": 2e-3, "fp16": 5e-2, "bf16": 6e-2}  # relative, of losses about 3


def losses_on(device: str, folder: Path) -> dict:
    path = folder / f"{device}.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.gpu_rank", device, str(path)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONWARNINGS": "ignore", "DS_ACCELERATOR": device},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def found(device: str, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return losses_on(device, tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def on_cpu(found: dict, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return found if ON_CPU else losses_on("cpu", tmp_path_factory.mktemp("cpu"))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_those_of_float32_on_a_cpu(found, on_cpu, device, stage, precision):
    if precision not in PRECISIONS[device]:
        pytest.skip(f"DeepSpeed has no {precision} on a {device}")
    if precision == "bf16" and not ON_CPU:
        import torch

        if torch.cuda.get_device_capability() < (8, 0):
            pytest.skip("bf16 begins at compute capability 8.0")
    losses = found["losses"][f"{precision} {stage}"]
    assert losses == pytest.approx(on_cpu["losses"]["fp32 0"], rel=TOLERANCE[precision])
    assert losses[-1] != losses[0]


@pytest.mark.parametrize("stage", STAGES)
def test_overflows_skip_their_steps_and_training_goes_on(found, device, stage):
    precision = "fp16" if "fp16" in PRECISIONS[device] else "fp32"
    result = found["overflow"][f"{precision} {stage}"]
    assert result["skipped"][2:4] == [True, True] and not result["skipped"][-1]
    assert all(loss < 10 for loss in result["losses"][4:])
    if precision == "fp16":  # which may skip the first steps too, until its scale fits
        assert result["scale"] < 2**16
    else:
        assert result["skipped"] == [False, False, True, True, False, False, False]
