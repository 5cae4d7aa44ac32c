"""What a job takes of a machine or cluster, checked before anything waits for it.

Ray retries for ever what it can never place, so a request is compared with the machine first.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from qa_lib.config import ClusterSettings, Settings, TrainSettings
from qa_lib.errors import ConfigError, ResourceError
from qa_lib.machines.devices import BF16_CAPABILITY, GPUS, num_local_cpus

MODEL_ACTOR_CPUS = 0.5
"""Ray CPUs that an actor with a model reserves, for scheduling only: its threads use idle cores."""

# Below a quarter of a core each, workers only take turns.
_MIN_CPUS_PER_WORKER = 0.25
_DATA_CPUS = 0.4  # for a task or two of Ray Data
_NO_CLUSTER = ClusterSettings()
_WITHOUT_GPU = (
    " --train.device cpu, or a machine with a GPU; with --cluster.gpu T4 a --dry-run plans for one"
)


@dataclass(frozen=True)
class Allocation:
    """What the training workers take.

    Attributes:
        num_workers: Ranks, at most.
        device: cpu or cuda.
        cpus_per_worker: Ray CPUs reserved for each; a scheduling amount, not a thread count.
    """

    num_workers: int
    device: str
    cpus_per_worker: float


def growth(settings: Settings) -> ClusterSettings:
    """Return the nodes that may still be added: none to this machine alone, except in a dry run."""
    can_grow = settings.dry_run or os.environ.get("RAY_ADDRESS")
    return settings.cluster if can_grow else _NO_CLUSTER


def allocate(train: TrainSettings, cluster: ClusterSettings = _NO_CLUSTER) -> Allocation:
    """Choose device and CPUs of the training workers, and check that they can be placed.

    Judges by this machine before `start_ray`, and by the cluster after it.

    Args:
        train: The workers' settings.
        cluster: Nodes that may still be added, from `growth`.

    Raises:
        ResourceError: Too few CPUs or GPUs.
        ConfigError: The device does not support the precision.
    """
    num_cpus, num_gpus = capacity(cluster)
    device = train.device if train.device != "auto" else ("cuda" if num_gpus else "cpu")
    if device == "cuda" and train.min_workers > num_gpus:
        raise ResourceError(
            f"--train.num-workers {train.num_workers} needs as many GPUs; there are {num_gpus:g}.",
            f"Use --train.num-workers {max(1, int(num_gpus))}{'' if num_gpus else _WITHOUT_GPU}.",
        )
    _check_precision(train, device, cluster)
    # One core stays free for Ray Data: without it the workers wait for batches for ever.
    spare = max(num_cpus - 1, 0.5)
    if train.is_elastic:
        cpus = least = _elastic_cpus(train, nodes(cluster), device)
        spare = num_cpus  # every node keeps a part
    else:
        # Ray counts in ten-thousandths; a share that it rounds up may not fit.
        cpus = train.cpus_per_worker or min(1.0, math.floor(spare / train.max_workers * 1e4) / 1e4)
        least = train.cpus_per_worker or min(_MIN_CPUS_PER_WORKER, spare)
    room = num_fitting(nodes(cluster), max(cpus, least), needs_gpu=device == "cuda")
    most = min(room, int(spare / least + 1e-9))
    if train.min_workers > most:
        remedies = [f"--train.num-workers {most} or fewer"] if most else []
        remedies += ["a smaller --train.cpus-per-worker"] if train.cpus_per_worker else []
        raise ResourceError(
            f"{train.min_workers} workers do not fit {num_cpus:g} CPUs, of which one stays free "
            f"for the data: at {least:g} CPU each, each on one node, there is room for {most}.",
            f"Use {', or '.join(remedies or ['a machine or cluster with CPUs for the workers'])}.",
        )
    return Allocation(train.max_workers, device, cpus)


def _elastic_cpus(train: TrainSettings, nodes: list[tuple[float, float]], device: str) -> float:
    """Return the CPUs of a worker with which no node is ever full, whichever of them remain.

    Raises:
        ResourceError: With those of the settings one would be: Ray Data would wait for ever.
    """

    def left(cpus: float) -> float:
        """Return what the fullest node keeps, as far as it is needed."""
        placed = [
            min(num_fitting([node], cpus, needs_gpu=device == "cuda"), train.max_workers)
            for node in nodes
        ]
        kept = (node[0] - count * cpus for node, count in zip(nodes, placed, strict=True))
        return min([_DATA_CPUS, *kept])

    # Sixteenths: Ray divides a node's CPUs by them and rounds down.
    sizes = [size / 16 for size in range(4, 17)]
    chosen = max(sizes, key=lambda cpus: (left(cpus), cpus))
    if train.cpus_per_worker and left(train.cpus_per_worker) < _DATA_CPUS / 2:
        raise ResourceError(
            f"Workers of {train.cpus_per_worker:g} CPUs each can fill a node, and leave nothing for"
            " the data.",
            f"Leave --train.cpus-per-worker out, or use {chosen:g}.",
        )
    return train.cpus_per_worker or chosen


def num_model_actors(device: str, cluster: ClusterSettings = _NO_CLUSTER) -> int:
    """Return how many actors with a model each keep the machine or cluster busy.

    On CPUs one per eight cores: torch's threads use the rest better than more copies would.
    """
    num_cpus, num_gpus = capacity(cluster)
    return max(1, int(num_gpus)) if device == "cuda" else max(1, int(num_cpus) // 8)


def capacity(cluster: ClusterSettings = _NO_CLUSTER) -> tuple[float, float]:
    """Return the CPUs and GPUs of this machine or the connected cluster, added nodes included."""
    found = nodes(cluster)
    return sum(cpus for cpus, _ in found), sum(gpus for _, gpus in found)


def _check_precision(train: TrainSettings, device: str, cluster: ClusterSettings) -> None:
    if device == "cpu" and train.precision == "fp16":
        raise ConfigError(
            "--train.precision fp16 needs a GPU: DeepSpeed refuses fp16 on a CPU.",
            "Use --train.precision auto, bf16 or fp32.",
        )
    gpu = GPUS.get(cluster.gpu)
    if device == "cuda" and train.precision == "bf16" and gpu and gpu.capability < BF16_CAPABILITY:
        raise ConfigError(
            f"A {cluster.gpu} does not support --train.precision bf16: its compute capability is "
            f"{'.'.join(map(str, gpu.capability))}.",
            "Use --train.precision fp16 or auto.",
        )


def num_placeable(allocation: Allocation, nodes: list[tuple[float, float]]) -> int:
    """Count the workers that fit nodes of so many CPUs and GPUs: none is spread over two."""
    room = num_fitting(nodes, allocation.cpus_per_worker, needs_gpu=allocation.device == "cuda")
    return min(room, allocation.num_workers)


def num_fitting(nodes: Sequence[tuple[float, float]], cpus: float, *, needs_gpu: bool) -> int:
    """Count what fits nodes of so many CPUs and GPUs, with one GPU each if it needs any.

    None is spread over two nodes.
    """
    return sum(
        int(min(num_cpus / cpus + 1e-9, num_gpus if needs_gpu else math.inf))
        for num_cpus, num_gpus in nodes
    )


def nodes(cluster: ClusterSettings) -> list[tuple[float, float]]:
    """Return CPUs and GPUs of every node, of those too that an autoscaler starts on demand."""
    found = _present()
    if cluster.gpu == "none":
        return found
    num_missing = cluster.num_nodes - sum(num_gpus > 0 for _, num_gpus in found)
    return found + [(cluster.cpus_per_node, float(cluster.gpus_per_node))] * max(0, num_missing)


def _present() -> list[tuple[float, float]]:
    """Return CPUs and GPUs of the nodes of the connected cluster, else of this machine."""
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized():
            alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive]
    import torch

    return [(float(num_local_cpus()), float(torch.cuda.device_count()))]
