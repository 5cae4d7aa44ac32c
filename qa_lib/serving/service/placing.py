"""What each replica takes of a machine or cluster, checked before Ray waits for it for ever."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qa_lib.config import Settings
from qa_lib.errors import ResourceError
from qa_lib.machines.actors import device_of
from qa_lib.machines.allocation import capacity, growth


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
            ResourceError: `serve.cpus_per_replica` is more than there is.
            ConfigError: The device is not available.
        """
        import ray

        service = settings.serve
        most = num_models * max(service.replicas, service.max_replicas or 1)
        cluster = growth(settings)
        all_cpus, all_gpus = capacity(cluster)
        nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
        if all_cpus > sum(nodes):
            nodes.append(cluster.cpus_per_node)
        share = service.cpus_per_replica or _share(all_cpus, most, max(nodes))
        if share > max(nodes) or share * most > all_cpus + 1e-6:
            raise ResourceError(
                f"{most} replicas of {share:g} CPUs do not fit {all_cpus:g} CPUs.",
                "Lower --serve.cpus-per-replica or leave it out, or take fewer replicas.",
            )
        device = device_of(settings) if service.backend == "torch" else "cpu"
        return cls(device, share, _share(all_gpus, most, 1.0) if device == "cuda" else 0.0)


def _share(total: float, parts: int, most: float) -> float:
    """Return a part of a resource: whole ones where there is one for each part."""
    part = min(total / parts, most)
    # Ray counts in ten-thousandths; a share that it rounds up may not fit.
    return float(int(part)) if part >= 1 else math.floor(part * 1e4) / 1e4
