"""Precisions and speeds of devices, and products that stay float32 whatever library is used."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from qa_lib.machines import devices


@pytest.mark.parametrize("wish", ["fp32", "bf16", "fp16"])
def test_a_requested_precision_is_kept(wish):
    assert devices.resolve_precision(wish, "cpu") == wish


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16")])
def test_a_t4_computes_in_fp16(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert devices.resolve_precision("auto", "cuda") == expected


@pytest.mark.parametrize(
    ("line", "files", "most"),
    [
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/a/b", {"a/cpu.max": "50000 100000"}, 1),
        (
            "3:cpu,cpuacct:/a",
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "1000"},
            8,
        ),
        ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "2000", "cpu/a/cpu.cfs_period_us": "1000"}, 2),
        ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "1000"}, 8),
    ],
)
def test_a_quota_of_cpu_time_counts_in_whole_cores(monkeypatch, tmp_path, line, files, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in (files | {"proc/self/cgroup": line}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert devices.num_local_cpus(str(tmp_path)) == most


@pytest.fixture
def torch_settings() -> Iterator[None]:
    before = torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision
    yield
    torch.set_num_threads(before[0])
    torch.backends.mkldnn.matmul.fp32_precision = before[1]


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize("library", ["mkl", "onednn"])
def test_products_stay_float32_whatever_library_takes_them(library):
    if library == "onednn" and not devices.onednn_is_exact():
        pytest.skip("oneDNN rounds to bf16 on this machine, and is not used for float32")
    devices.use_products(library)
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 384, generator=generator) for rows in (512, 768))
    exact = x.double() @ weight.double().T
    for product in (torch.nn.functional.linear(x, weight), x @ weight.T):
        assert float((product - exact).abs().max() / exact.abs().max()) < 2e-6


@pytest.mark.usefixtures("torch_settings")
def test_latencies_are_measured_with_torchs_own_products():
    devices.use_products("onednn")
    with devices.as_torch_comes():
        assert devices.products() == "mkl"
    assert devices.products() == "onednn"


def test_the_speed_of_this_machine_is_plausible():
    assert 1e8 < devices.flops_per_second("cpu", "fp32") < 1e14


def test_a_preview_of_another_gpu_needs_none_here():
    assert devices.resolve_precision("auto", "cuda", "T4") == "fp16"
    assert devices.resolve_precision("auto", "cuda", "A100") == "bf16"
    ratio = devices.flops_per_second("cuda", "fp16", "A100") / devices.flops_per_second(
        "cuda", "fp16", "T4"
    )
    assert ratio == pytest.approx(312 / 65)
