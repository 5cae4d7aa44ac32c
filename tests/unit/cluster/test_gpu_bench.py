"""The GPU benchmark's bookkeeping, and the wheels that are carried to a machine without network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import gpu
from scripts import wheels

ROOT = Path(__file__).parents[3]


def test_the_parts_fit_the_time_that_is_promised():
    assert gpu.EXPECTED.keys() == gpu.PARTS.keys()
    assert sum(gpu.EXPECTED.values()) <= 25


def test_a_part_that_no_longer_fits_or_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "ON_CPU", False)
    bench = gpu.Bench(tmp_path, minutes=5)
    bench.run("squad-bf16", lambda _: {"precision": "bf16", "windows_per_s": 9.5, "em": 1.0})

    def fail(_: gpu.Bench) -> dict:
        raise subprocess.CalledProcessError(1, "jobs.train")

    bench.run("base", fail)
    bench.run("search", lambda _: pytest.fail("five minutes are too few"))
    assert "failed" in bench.found["base"] and "left_out" in bench.found["search"]
    lines = gpu.rows(bench.found, "NVIDIA T4").splitlines()
    assert {line.count("|") for line in lines} == {8}
    assert lines[2].startswith("| squad-bf16 | NVIDIA T4 | bf16 | 9.5 | 1.0 |")
    assert sum("not measured" in line for line in lines) == 2


LOCK = "ray==2.60.0\ntorch==2.13.0\nruff==0.17.6\nnumpy==2.4.6\nPyYAML==6.0.3\n"


@pytest.mark.parametrize(
    ("freeze", "carried"),
    [
        ("", ["ray==2.60.0", "torch==2.13.0", "numpy==2.4.6", "pyyaml==6.0.3"]),
        ("torch==2.9.0+cu130\nnumpy==2.4.6\npyyaml==6.0.2\n", ["ray==2.60.0", "pyyaml==6.0.3"]),
        ("torch @ file:///opt/t.whl\nnumpy==2.4.6\nray==2.60.0\n", ["pyyaml==6.0.3"]),
    ],
)
def test_wheels_are_those_that_the_machine_lacks(freeze, carried):
    assert wheels.missing(LOCK, freeze) == carried


def test_what_the_gpu_suite_imports_is_not_left_out():
    named = wheels.pins((ROOT / "requirements.txt").read_text())
    assert set(wheels.UNUSED) <= named.keys(), "a name that the lock does not know"
    assert not {"pytest", "pytest-timeout", "hypothesis", "ray", "deepspeed"} & set(wheels.UNUSED)
