"""The largest micro-batch that fits: the search, and the estimate against what torch keeps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qa_lib import config, models
from qa_lib.config import TrainSettings
from qa_lib.errors import ResourceError
from qa_lib.machines.allocation import Allocation
from qa_lib.training import micro_batch
from tests.support.adjust_models import tiny

GIB = 2**30


@given(share=st.integers(1, 4096), most=st.integers(1, 5000))
def test_the_largest_divisor_that_fits_is_found_in_few_tries(share: int, most: int):
    tried = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= most

    found = micro_batch.largest_fitting(share, fits)
    divisors = [size for size in range(1, share + 1) if share % size == 0]
    assert found == max(size for size in divisors if size <= most)
    assert len(tried) == len(set(tried)) <= 2 + len(divisors).bit_length()


def test_an_error_names_the_remedy_if_not_even_one_window_fits():
    with pytest.raises(ResourceError, match="gradient-checkpointing"):
        micro_batch.largest_fitting(8, lambda _: False)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_estimate_bounds_what_the_backward_pass_needs(implementation: str):
    model = tiny("bert").train()
    model.set_attn_implementation(implementation)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    num_windows, num_tokens = 8, 40
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        micro_batch.take_micro_batch(model, num_windows, num_tokens, torch.device("cpu"), "fp32")
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    measured = sum(size for pointer, size in kept.items() if pointer not in weights)
    bound = num_windows * micro_batch.activation_bytes(
        model.config, num_tokens, checkpointing=False
    )
    assert bound / 4 < measured < bound
    assert (
        micro_batch.activation_bytes(model.config, num_tokens, checkpointing=True)
        < bound / num_windows
    )


def settings_of(*flags: str) -> config.Settings:
    return config.parse("train", ["--train.micro-batch", "auto", *flags])


def test_on_a_cpu_memory_decides_and_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("it was tried"))
    settings = settings_of("--train.global-batch", "64")
    found = [micro_batch.estimate(settings, 384, free * GIB) for free in (3, 6, 12, 1000)]
    assert found == sorted(found) and found[0] < found[-1] == 64
    with pytest.raises(ResourceError, match="Not even one"):
        micro_batch.estimate(settings, 384, GIB)
    checkpointed = settings_of("--train.global-batch", "64", "--train.gradient-checkpointing")
    assert micro_batch.estimate(checkpointed, 384, 3 * GIB) > found[0]
    chosen = micro_batch.micro_batch_of(settings, Allocation(1, "cpu", 1.0), 384)
    assert 64 % chosen == 0


def test_a_wish_is_kept_whatever_the_memory():
    settings = config.parse("train", ["--train.micro-batch", "4"])
    assert micro_batch.micro_batch_of(settings, Allocation(1, "cpu", 1.0), 384) == 4


@pytest.mark.parametrize(
    ("global_batch", "workers", "size"), [(16, 1, 16), (16, 2, 8), (24, 1, 12), (7, 7, 1)]
)
def test_unmeasured_the_micro_batch_fits_a_ranks_share(global_batch, workers, size):
    train = TrainSettings(micro_batch="auto", global_batch=global_batch, num_workers=workers)
    assert micro_batch.unmeasured_micro_batch(config.Settings(train=train)) == size


@pytest.mark.gpu
@pytest.mark.usefixtures("ray_session")
def test_a_gpu_is_tried():
    settings = settings_of()
    train = settings.train.model_copy(update={"global_batch": 65536})
    settings = settings.model_copy(update={"train": train})
    found = micro_batch.micro_batch_of(settings, Allocation(1, "cuda", 1.0), 384)
    assert 16 <= found < 65536 and 65536 % found == 0
