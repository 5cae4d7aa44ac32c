"""Workers that memory cannot hold are refused before they start."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize("address", ["", "10.0.0.1:6379"])
def test_before_a_cluster_is_joined_this_machine_is_judged(
    monkeypatch: pytest.MonkeyPatch, address: str
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # by other tests it may be
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    assert memory.free_memory_per_worker(2) == 2**29


@pytest.mark.parametrize(
    ("line", "folder", "limit", "used", "cached"),
    [
        ("0::/a/b", "a", "memory.max", "memory.current", "inactive_file"),
        (
            "4:cpu,memory:/a/b",
            "memory/a",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ],
)
def test_the_limit_of_a_cgroup_above_counts(
    tmp_path: Path, line: str, folder: str, limit: str, used: str, cached: str
):
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    write("proc/self/cgroup", line)
    group = f"sys/fs/cgroup/{folder}"
    write(f"{group}/{limit}", str(50 * 2**20))
    write(f"{group}/{used}", str(30 * 2**20))
    write(f"{group}/b/{limit}", "max")
    write(f"{group}/b/{used}", str(2**20))
    assert memory.available_bytes(str(tmp_path)) == 20 * 2**20
    write(f"{group}/memory.stat", f"anon 1\n{cached} {2**20}")
    assert memory.available_bytes(str(tmp_path)) == 21 * 2**20
    write(f"{group}/{limit}", str(2**63 - 4096))  # as version 1 writes "unlimited"
    assert memory.available_bytes(str(tmp_path)) > 21 * 2**20
