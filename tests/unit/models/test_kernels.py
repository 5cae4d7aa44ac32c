"""Kernels are measured: what the settings permit, once for a machine, and without a trace."""

from __future__ import annotations

import pytest
import torch

from qa_lib import models
from qa_lib.machines import devices
from qa_lib.models import kernels
from qa_lib.models.kernels import Kernels, Workload, choose
from tests.support import tiny

STEP = Workload(num_windows=2, num_tokens=40, trains=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return models.load_config(tiny.write_model(tmp_path_factory.mktemp("model"), num_layers=3))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "qa-suite" / "kernels"


def test_every_candidate_is_timed_and_the_fastest_taken(config):
    kernels = choose(config, STEP, device="cpu")
    assert kernels.measured_ms[kernels.name] == min(kernels.measured_ms.values())
    assert {"fp32 mkl sdpa", "fp32 mkl batched"} <= kernels.measured_ms.keys()
    assert kernels.flops_per_s > 0


@pytest.mark.parametrize("wish", ["fp32", "bf16"])
def test_wishes_are_respected(config, wish):
    kernels = choose(config, STEP, device="cpu", precision=wish, kernel="sdpa")
    assert (kernels.precision, kernels.attention) == (wish, "sdpa")


def test_a_machine_measures_once(config, cache):
    first = choose(config, STEP, device="cpu")
    (entry,) = cache.glob("*.json")
    assert choose(config, STEP, device="cpu", measure=False) == first
    entry.write_text('{"precision": "bf16", ', encoding="utf-8")  # torn by a full disk
    assert choose(config, STEP, device="cpu", measure=False) == Kernels("fp32")
    assert choose(config, STEP, device="cpu").measured_ms


def test_without_a_cache_folder_it_is_measured_each_time(config, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose(config, STEP, device="cpu").measured_ms


def test_measuring_leaves_no_trace(config):
    torch.manual_seed(7)
    before = torch.get_rng_state(), devices.products()
    choose(config, STEP, device="cpu")
    assert torch.equal(torch.get_rng_state(), before[0]) and devices.products() == before[1]


def test_the_fastest_kernels_are_used_meanwhile_and_no_longer(config, monkeypatch):
    fastest = Kernels("fp32", "onednn", "batched")
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: fastest)
    model, before = models.build(config), devices.products()
    default = model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), kernels.fastest_fp32(model, STEP):
        assert devices.products() == "onednn"
        assert model.config._attn_implementation != default
        1 / 0  # noqa: B018
    assert (devices.products(), model.config._attn_implementation) == (before, default)


def test_a_gpu_is_judged_by_its_capability(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert choose(config, STEP, device="cuda") == Kernels("fp16", attention="sdpa")


def test_a_ragged_model_is_measured_by_its_widest_layer(config):
    widths = models.ragged.Blocks((0, config.num_attention_heads, 1), (8, 16, 0))
    ragged = models.ragged.mark(type(config).from_dict(config.to_dict()), widths)
    assert choose(ragged, STEP, device="cpu").measured_ms
