"""Precisions and speeds of devices, and products that stay float32 whatever library is used."""

from __future__ import annotations

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


def test_a_cpu_computes_in_a_precision_that_it_has():
    assert devices.resolve_precision("auto", "cpu") in ("bf16", "fp32")


@pytest.fixture
def torch_settings() -> Iterator[None]:
    before = torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision
    yield
    torch.set_num_threads(before[0])
    torch.backends.mkldnn.matmul.fp32_precision = before[1]


@pytest.mark.usefixtures("torch_settings")
def test_products_stay_float32_whatever_library_takes_them():
    devices.set_up_cpu(2)
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 384, generator=generator) for rows in (512, 768))
    exact = x.double() @ weight.double().T
    for product in (torch.nn.functional.linear(x, weight), x @ weight.T):
        assert float((product - exact).abs().max() / exact.abs().max()) < 2e-6


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize(
    ("can", "expected"),
    [
        ({"cpu_name": "AMD EPYC 9575F", "avx512_f": True, "amx_tile": False}, "bf16"),
        ({"cpu_name": "AMD EPYC 7B13", "avx512_f": False}, "none"),
        ({"cpu_name": "Intel Xeon", "avx512_f": True, "amx_tile": True}, "none"),
        ({}, "none"),  # Arm, or a torch that cannot tell
    ],
)
def test_onednn_is_used_only_where_it_does_not_round(monkeypatch, can, expected):
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    devices.set_up_cpu(1)
    assert torch.backends.mkldnn.matmul.fp32_precision == expected


def test_the_speed_of_this_machine_is_plausible():
    assert 1e8 < devices.flops_per_second("cpu", "fp32") < 1e14


def test_a_preview_of_another_gpu_needs_none_here():
    assert devices.resolve_precision("auto", "cuda", "T4") == "fp16"
    assert devices.resolve_precision("auto", "cuda", "A100") == "bf16"
    ratio = devices.flops_per_second("cuda", "fp16", "A100") / devices.flops_per_second(
        "cuda", "fp16", "T4"
    )
    assert ratio == pytest.approx(312 / 65)
