"""What each replica takes of a machine or cluster, checked before Ray waits for it for ever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qa_lib.config import Settings
from qa_lib.errors import ResourceError
from qa_lib.machines.actors import device_of
from qa_lib.machines.allocation import growth, nodes, num_fitting


@dataclass(frozen=True)
class Place:
    """The share of one replica.

    Attributes:
        device: cpu or cuda.
        num_cpus: Of Ray.
        num_gpus: Of Ray; below 1 where models share a GPU.
    """

    device: str
    num_cpus: float
    num_gpus: float

    @property
    def num_threads(self) -> int:
        """Threads of a replica on a CPU."""
        return max(1, int(self.num_cpus))

    @classmethod
    def of(cls, settings: Settings, num_models: int) -> Place:
        """Divide the connected cluster among all replicas that there can be.

        Raises:
            ResourceError: They do not fit the nodes.
            ConfigError: The device is not available.
        """
        service = settings.serve
        device = device_of(settings) if service.backend == "torch" else "cpu"
        most = num_models * max(service.replicas, service.max_replicas or 1)
        found = nodes(growth(settings))
        return cls(device, *shares(found, most, service.cpus_per_replica, on_gpu=device == "cuda"))


def shares(
    found: Sequence[tuple[float, float]], most: int, wanted: float | None, *, on_gpu: bool
) -> tuple[float, float]:
    """Return the CPUs and GPUs of a replica with which as many as there can be have a place.

    None is spread over two nodes, nor over two GPUs.

    Args:
        found: CPUs and GPUs of every node.
        most: Replicas.
        wanted: CPUs of each; None takes all that there are.
        on_gpu: Whether each needs a GPU, or a part of one.

    Raises:
        ResourceError: They do not fit.
    """
    num_cpus, num_gpus = (sum(node[place] for node in found) for place in (0, 1))
    per_gpu = math.ceil(most / num_gpus) if on_gpu else 0
    slots = [(cpus, gpus * per_gpu) for cpus, gpus in found]  # one replica in each part of a GPU
    parts = {_rounded(cpus / count) for cpus, _ in found for count in range(1, most + 1)}
    asked = sorted(parts - {0.0}, reverse=True) if wanted is None else [wanted]
    share = next(
        (share for share in asked if num_fitting(slots, share, needs_gpu=on_gpu) >= most), None
    )
    if share is None:
        each = "" if wanted is None else f" of {wanted:g} CPUs, each on one node,"
        raise ResourceError(
            f"{most} replicas{each} do not fit {num_cpus:g} CPUs on {len(found)} nodes.",
            "Lower --serve.cpus-per-replica or leave it out, or take fewer replicas.",
        )
    return share, _rounded(1 / per_gpu) if on_gpu else 0.0


def _rounded(part: float) -> float:
    """Return a part of a resource, rounded down: whole ones where it is more than one."""
    # Ray counts in ten-thousandths; a share that it rounds up may not fit.
    return float(int(part)) if part >= 1 else math.floor(part * 1e4) / 1e4
