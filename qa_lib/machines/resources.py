"""What a job asks of a machine or cluster, checked before anything waits for it.

Ray retries what it can never place, so a request that cannot be met would wait for ever. Here it is
compared with what there is, first.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from qa_lib.config import ClusterSettings, Settings, TrainSettings
from qa_lib.errors import ConfigError, ResourceError
from qa_lib.machines.devices import BF16_CAPABILITY, GPUS

# Below a quarter of a core each, workers only take turns.
_MIN_CPUS_PER_WORKER = 0.25
# Reserved by an actor that holds a model: scheduling only, its threads use what is idle.
MODEL_ACTOR_CPUS = 0.5
# The interpreter with torch, transformers and Ray, before any model.
WORKER_BYTES = int(0.9 * 2**30)
_NO_CLUSTER = ClusterSettings()


@dataclass(frozen=True)
class Allocation:
    """What the training workers take.

    Attributes:
        num_workers: Ranks.
        device: cpu or cuda.
        cpus_per_worker: Ray CPUs reserved for each; a scheduling amount, not a thread count.
    """

    num_workers: int
    device: str
    cpus_per_worker: float


def start_ray(num_cpus: int | None = None) -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine alone.

    A local start never joins a Ray that happens to run already: what an unclean stop left behind
    would be taken for a cluster.

    Args:
        num_cpus: Logical CPUs of a Ray of its own; None counts the cores.

    Raises:
        ConfigError: RAY_ADDRESS is that of a dashboard.
    """
    import ray

    if ray.is_initialized():
        return
    # Read by Ray Train's controller: its default of 2 s adds as much to every start and end; at a
    # tenth of a second its polling takes a twentieth of two cores while they train.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    # Ray gives its workers the lowest priority but four; training is what the user waits for.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # glibc gives memory back after every batch and faults it in again: a tenth of a CPU step. Not
    # to map memory at all spares what a threshold (32 MiB at most) cannot: the gradient of a
    # vocabulary, 12,000 page faults a step. Threads need arenas of their own: with a single one,
    # those of oneDNN, which allocates in each, wait for one another 40,000 times a second.
    os.environ.setdefault("MALLOC_ARENA_MAX", str(2 * num_local_cpus()))
    os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**33))
    # What workers print goes to Ray's session folder; what matters comes back as an exception.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"RAY_ADDRESS {address} takes jobs; it cannot be joined from here.",
            'Use `make submit JOB=... ARGS="..."`, or unset RAY_ADDRESS to run on this machine.',
        )
    if address:
        worker_env = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("HF_", "DO_NOT_TRACK", "TOKENIZERS_", "DS_ACCELERATOR", "MALLOC_"))
            and not name.endswith("TOKEN")
        }
        ray.init(runtime_env={"env_vars": worker_env}, **options)
    else:
        # Workers inherit this process's environment. With a runtime_env of its own, Ray would throw
        # away the ones that it has started in advance.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # an actor for clouds
        num_cpus = num_cpus or num_local_cpus()
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, **options)
    quiet_ray_data()


def quiet_ray_data() -> None:
    """Turn off Ray Data's own progress bars and start-up reports in this process."""
    import logging

    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def num_local_cpus() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def growth(settings: Settings) -> ClusterSettings:
    """Return what can still come: nothing to this machine alone, unless only a plan is made."""
    can_grow = settings.dry_run or os.environ.get("RAY_ADDRESS")
    return settings.cluster if can_grow else _NO_CLUSTER


def allocate(train: TrainSettings, cluster: ClusterSettings = _NO_CLUSTER) -> Allocation:
    """Decide device and CPUs of the training workers, and refuse what cannot be placed.

    Before `start_ray` it judges by this machine, after it by the cluster.

    Args:
        train: The workers' settings.
        cluster: What can come besides, as `growth` says.

    Raises:
        ResourceError: There are too few CPUs or GPUs, or too little memory.
        ConfigError: The precision does not exist on the device.
    """
    nodes = _nodes(cluster)
    num_cpus, num_gpus = totals(cluster)
    device = train.device if train.device != "auto" else ("cuda" if num_gpus else "cpu")
    if device == "cuda" and train.num_workers > num_gpus:
        raise ResourceError(
            f"--train.num-workers {train.num_workers} needs as many GPUs; there are {num_gpus:g}.",
            f"Use --train.num-workers {max(1, int(num_gpus))}"
            + ("." if num_gpus else " --train.device cpu, or a machine with a GPU."),
        )
    if device == "cpu" and train.precision == "fp16":
        raise ConfigError(
            "--train.precision fp16 needs a GPU: DeepSpeed refuses fp16 on a CPU.",
            "Use --train.precision auto, bf16 or fp32.",
        )
    gpu = GPUS.get(cluster.gpu)
    if device == "cuda" and train.precision == "bf16" and gpu and gpu.capability < BF16_CAPABILITY:
        raise ConfigError(
            f"--train.precision bf16 does not exist on a {cluster.gpu}: its compute capability is "
            f"{'.'.join(map(str, gpu.capability))}.",
            "Use --train.precision fp16 or auto.",
        )
    # One core stays free for Ray Data: without it the workers wait for batches for ever.
    spare = max(num_cpus - 1, 0.5)
    # Ray counts in ten-thousandths, and what it rounds up may not fit.
    cpus = train.cpus_per_worker or min(1.0, math.floor(spare / train.num_workers * 1e4) / 1e4)
    least = train.cpus_per_worker or min(_MIN_CPUS_PER_WORKER, spare)
    room = _room(nodes, max(cpus, least), needs_gpu=device == "cuda")
    most = min(room, int(spare / least + 1e-9))
    if train.num_workers > most:
        remedies = [f"--train.num-workers {most} or fewer"] if most else []
        remedies += ["a smaller --train.cpus-per-worker"] if train.cpus_per_worker else []
        raise ResourceError(
            f"{train.num_workers} workers do not fit {num_cpus:g} CPUs, of which one stays free "
            f"for the data: at {least:g} CPU each, each on one node, there is room for {most}.",
            f"Use {', or '.join(remedies)}.",
        )
    return Allocation(train.num_workers, device, cpus)


def check_memory(num_workers: int, state_bytes_per_rank: int) -> None:
    """Refuse workers whose training state cannot fit this machine's free memory.

    Args:
        num_workers: Ranks on this machine.
        state_bytes_per_rank: Parameters, gradients and optimizer state of one.

    Raises:
        ResourceError: Together they need more than is free.
    """
    import psutil

    free = psutil.virtual_memory().available
    needed = num_workers * (state_bytes_per_rank + WORKER_BYTES)
    if needed > free:
        raise ResourceError(
            f"{num_workers} workers need about {needed / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} GiB are free.",
            "Use fewer workers, a higher --train.zero-stage, or a smaller model.",
        )


def check_gpu_memory(gpu: str, states: dict[str, int], *, offload: bool) -> None:
    """Refuse a training state that a GPU cannot hold.

    Args:
        gpu: One of `devices.GPUS`.
        states: Bytes of a rank, as `memory_per_rank` predicts them.
        offload: The optimizer's part lies in CPU memory.

    Raises:
        ResourceError: It is larger than the GPU's memory, before any activation.
    """
    held = sum(states.values()) - (states["optimizer"] if offload else 0)
    if held > GPUS[gpu].memory_gb * 1e9:
        raise ResourceError(
            f"Weights, gradients and optimizer of a worker take {held / 1e9:.1f} GB; a {gpu} has "
            f"{GPUS[gpu].memory_gb}.",
            "Use more workers with --train.zero-stage 3, or --train.zero-stage 1 "
            "--train.offload-optimizer, or a smaller model.",
        )


def memory_per_rank(
    num_parameters: int, train: TrainSettings, precision: str, world_size: int
) -> dict[str, int]:
    """Predict a rank's bytes of model states, as Rajbhandari et al. 2020 (ZeRO), section 5.

    Activations come on top: they depend on the micro-batch and not on the stage.

    Args:
        num_parameters: Of the whole model.
        train: ZeRO stage and optimizer.
        precision: fp16 keeps 2-byte weights and gradients beside fp32 masters.
        world_size: Ranks that share what the stage partitions.
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


def free_memory_per_worker(num_workers: int) -> int:
    """Return the bytes that each worker can count on.

    On this machine its part of what is free; on a cluster its part of what the smallest node gives
    to Ray, with the workers spread over the nodes.
    """
    import psutil

    if "RAY_ADDRESS" not in os.environ:
        return psutil.virtual_memory().available // num_workers
    import ray

    given = [node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]]
    return int(min(given) / math.ceil(num_workers / len(given)))


def num_model_actors(device: str, cluster: ClusterSettings = _NO_CLUSTER) -> int:
    """Return how many actors that each hold a model keep the machine or cluster busy.

    On CPUs one per eight: torch's threads use the rest better than more copies would.
    """
    num_cpus, num_gpus = totals(cluster)
    return max(1, int(num_gpus)) if device == "cuda" else max(1, int(num_cpus) // 8)


def _room(nodes: list[tuple[float, float]], cpus: float, *, needs_gpu: bool) -> int:
    """Count the workers that find a node for themselves: none is spread over two."""
    return sum(
        int(min(num_cpus / cpus + 1e-9, num_gpus if needs_gpu else math.inf))
        for num_cpus, num_gpus in nodes
    )


def totals(cluster: ClusterSettings = _NO_CLUSTER) -> tuple[float, float]:
    """Return the CPUs and GPUs of this machine or the connected cluster, with what can come."""
    nodes = _nodes(cluster)
    return sum(cpus for cpus, _ in nodes), sum(gpus for _, gpus in nodes)


def _nodes(cluster: ClusterSettings = _NO_CLUSTER) -> list[tuple[float, float]]:
    """CPUs and GPUs of each node: of the cluster if one is connected, else of this machine.

    Where the settings declare worker nodes with GPUs, these count for as many as are not there yet:
    an autoscaler starts them when they are asked for.
    """
    nodes = _present()
    if cluster.gpu == "none":
        return nodes
    with_gpus = [node for node in nodes if node[1]]
    declared = (cluster.cpus_per_node, float(cluster.gpus_per_node))
    to_come = max(0, cluster.num_nodes - len(with_gpus))
    return nodes + [declared] * to_come


def _present() -> list[tuple[float, float]]:
    import sys

    if "ray" in sys.modules:
        import ray

        if ray.is_initialized():
            alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            return [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive]
    import torch

    return [(float(num_local_cpus()), float(torch.cuda.device_count()))]
