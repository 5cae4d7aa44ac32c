"""Ray Train's trainer of a run: its ranks, their resources, and no process that does nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qa_lib.config import TrainSettings
from qa_lib.machines.allocation import Allocation
from qa_lib.training.task import TrainTask

if TYPE_CHECKING:
    import ray.train.torch

_NEVER_S = 1e9


def trainer_of(
    run_rank: Callable[[dict[str, Any]], None], task: TrainTask, allocation: Allocation
) -> ray.train.torch.TorchTrainer:
    """Return the trainer that runs the ranks of a task.

    Args:
        run_rank: Called in each rank with {"task": task}.
        task: What the ranks train.
        allocation: What they get of the machine or cluster.
    """
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    from qa_lib.training.rendezvous import GroupConfig

    train = task.settings.train
    trainer = TorchTrainer(
        run_rank,
        train_loop_config={"task": task},
        torch_config=GroupConfig("nccl" if allocation.device == "cuda" else "gloo"),  # type: ignore[arg-type]
        scaling_config=_scaling(train, allocation),
        run_config=RunConfig(
            name="ray",
            storage_path=task.run_path,
            failure_config=FailureConfig(max_failures=train.max_failures),
        ),
    )
    _start_only_what_is_needed(trainer)
    return trainer


def _start_only_what_is_needed(trainer: Any) -> None:
    """Spare a run two of Ray Train's actors, each of which imports for seconds.

    One deals out datasets of the trainer, which has none: ranks make theirs (planned_data). The
    other frees the ranks' resources should the controller die, which nobody waits for in a Ray
    that ends with this job.
    """
    from ray.train.v2._internal.callbacks import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import (
        PlacementGroupCleanerCallback,
    )

    spared: tuple[type, ...] = (DatasetsCallback,)
    if not os.environ.get("RAY_ADDRESS"):
        spared += (PlacementGroupCleanerCallback,)
    create = trainer._create_default_callbacks
    trainer._create_default_callbacks = lambda: [
        callback for callback in create() if not isinstance(callback, spared)
    ]


def _scaling(train: TrainSettings, allocation: Allocation) -> ray.train.ScalingConfig:
    from ray.train import ScalingConfig

    if train.is_elastic:
        # Ray counts on a lost node for a while; then it waits so long before it counts again.
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
    use_gpu = allocation.device == "cuda"
    elastic: dict[str, Any] = {
        "num_workers": (train.min_workers, train.max_workers),
        # Ray would not wait for a checkpoint: NodeWatch makes groups grow.
        "elastic_resize_monitor_interval_s": _NEVER_S,
    }
    fixed = {"num_workers": allocation.num_workers}
    return ScalingConfig(
        use_gpu=use_gpu,
        resources_per_worker={"CPU": allocation.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
        **(elastic if train.is_elastic else fixed),
    )
