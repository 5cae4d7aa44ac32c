"""The memory of a training worker: predicted, and compared with what is free."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from qa_lib.config import TrainSettings
from qa_lib.errors import ResourceError
from qa_lib.machines import cgroups
from qa_lib.machines.devices import GPUS

WORKER_BYTES = int(0.9 * 2**30)
"""The interpreter with torch, transformers and Ray, before any model."""


# Of a cgroup, by version: its limit, what is used, and what of that is a cache.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def memory_per_rank(
    num_parameters: int, train: TrainSettings, precision: str, world_size: int
) -> dict[str, int]:
    """Predict a rank's bytes of parameters, gradients and optimizer state.

    Activations come on top: they depend on the micro-batch and not on the stage.

    Args:
        num_parameters: Of the whole model.
        train: ZeRO stage and optimizer.
        precision: fp16 keeps 2-byte weights and gradients beside fp32 masters.
        world_size: Ranks that share what the stage partitions.

    Source:
        Rajbhandari et al. 2020 (ZeRO), section 5.
    """
    stage, share = train.zero_stage, -(-num_parameters // world_size)
    width = 2 if precision == "fp16" else 4
    # Moments of AdamW, and from stage 1 on (or in fp16) a master copy of the rank's part.
    moments = 8 if train.optimizer == "adamw" else 0
    master = 4 if stage > 0 or precision == "fp16" else 0
    return {
        "parameters": width * (share if stage == 3 else num_parameters),
        "gradients": width * (share if stage >= 2 else num_parameters),
        "optimizer": (moments + master) * (share if stage >= 1 else num_parameters),
    }


def check_memory(num_workers: int, state_bytes_per_rank: int) -> None:
    """Check that workers with their training states fit this machine's free memory.

    Raises:
        ResourceError: Together they need more than is free.
    """
    free = available_bytes()
    needed = num_workers * (state_bytes_per_rank + WORKER_BYTES)
    if needed > free:
        raise ResourceError(
            f"{num_workers} workers need about {needed / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} GiB are free.",
            "Use fewer workers, a higher --train.zero-stage, or a smaller model.",
        )


def available_bytes(root: str = "/") -> int:
    """Return the memory that this process can still take: of the machine, or of its cgroups.

    Args:
        root: Where proc and sys are mounted.

    Source:
        Linux kernel documentation: cgroup-v2.rst, Memory; cgroup-v1/memory.rst.
    """
    import psutil

    free: int = psutil.virtual_memory().available
    for folder, version in cgroups.folders("memory", Path(root)):
        limit, used, cached = _FILES[version]
        most, now = _number(folder / limit), _number(folder / used)
        if most is not None and now is not None:
            # Files that nobody has used lately are given back before the limit hurts.
            free = min(free, max(most - now + _statistic(folder / "memory.stat", cached), 0))
    return free


def _number(file: Path) -> int | None:
    """Return the number in a file; None if there is none, as in the unlimited `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        values = dict(line.split() for line in file.read_text().splitlines())
        return int(values.get(name, 0))
    except (OSError, ValueError):
        return 0


def check_gpu_memory(gpu: str, states: dict[str, int], *, offload: bool) -> None:
    """Check that a GPU can hold a rank's training state, from `memory_per_rank`.

    With offload, the optimizer's part lies in CPU memory.

    Raises:
        ResourceError: The state alone, without activations, is larger than the GPU's memory.
    """
    held = sum(states.values()) - (states["optimizer"] if offload else 0)
    if held > GPUS[gpu].memory_gb * 1e9:
        raise ResourceError(
            f"Weights, gradients and optimizer of a worker take {held / 1e9:.1f} GB; a {gpu} has "
            f"{GPUS[gpu].memory_gb}.",
            "Use more workers with --train.zero-stage 3, or --train.zero-stage 1 "
            "--train.offload-optimizer, or a smaller model.",
        )


def free_memory_per_worker(num_workers: int) -> int:
    """Return the bytes that each worker can count on.

    On this machine, or before a cluster is joined, an equal part of what is free. On a cluster, an
    equal part of the smallest node's memory for Ray, with the workers spread over the nodes.
    """
    ray = sys.modules.get("ray")
    if not os.environ.get("RAY_ADDRESS") or ray is None or not ray.is_initialized():
        return available_bytes() // num_workers
    sizes = [node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]]
    return int(min(sizes) / math.ceil(num_workers / len(sizes)))
