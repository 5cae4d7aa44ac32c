"""Workers that memory cannot hold are refused before they start."""

from __future__ import annotations

import psutil
import pytest

from qa_lib.config import TrainSettings
from qa_lib.errors import ResourceError
from qa_lib.machines import memory


def test_workers_that_memory_cannot_hold_are_refused():
    memory.check_memory(1, 10 * 2**20)
    free = psutil.virtual_memory().available
    with pytest.raises(ResourceError, match="GiB are free") as caught:
        memory.check_memory(2, free)
    assert "--train.zero-stage" in caught.value.remedy


def test_a_state_that_a_gpu_cannot_hold_is_refused_with_a_remedy():
    train = TrainSettings(zero_stage=1)
    states = memory.memory_per_rank(1_200_000_000, train, "fp16", 1)
    with pytest.raises(ResourceError, match="a T4 has 16") as caught:
        memory.check_gpu_memory("T4", states, offload=False)
    assert "--train.offload-optimizer" in caught.value.remedy
    memory.check_gpu_memory("T4", states, offload=True)
    memory.check_gpu_memory("A100", states, offload=False)
