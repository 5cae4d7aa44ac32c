"""What driver and workers agree on: the task, and the actor through which they talk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from qa_lib.config import Settings
from qa_lib.training.batch_plan import BatchPlan, fitting_micro_batch

Ending = Literal["done", "stopped", "diverged"]
"""How the workers ended: as planned, because they were asked to, or without finite losses."""


@dataclass(frozen=True)
class TrainTask:
    """Everything that a worker needs to know; the windows come through Ray Data.

    Attributes:
        settings: The resolved settings.
        run_path: The run folder, path or URL.
        plan: Which windows make up which step.
        micro_batch: Rows per micro-step of a rank.
        device: cpu or cuda.
        monitor: The actor that hears of every step.
        last_step: Optimizer steps after which the workers end; the plan may go on beyond.
    """

    settings: Settings
    run_path: str
    plan: BatchPlan
    micro_batch: int
    device: str
    monitor: Any
    last_step: int

    @property
    def checkpoints(self) -> str:
        """The run's checkpoint folder, path or URL."""
        return checkpoints_of(self.run_path)


class Monitor:
    """An actor between workers and driver: steps flow one way, the wish to stop the other."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._rows: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._stop = False

    def record(self, rows: list[dict[str, Any]]) -> bool:
        """Take finished steps from rank 0; answer whether the run should stop."""
        self._rows += rows
        return self._stop

    def conclude(self, facts: dict[str, Any]) -> None:
        """Take what rank 0 knows at the end."""
        self._facts = facts

    def request_stop(self) -> None:
        """Ask the workers to checkpoint and stop after the current step."""
        self._stop = True

    def drain(self) -> list[dict[str, Any]]:
        """Hand over the steps heard since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def facts(self) -> dict[str, Any]:
        """Return what rank 0 concluded; empty while it trains."""
        return self._facts


def plan_of(settings: Settings, lengths: np.ndarray) -> BatchPlan:
    """Return the batch plan of a run for windows of these lengths."""
    train = settings.train
    return BatchPlan(
        lengths=lengths,
        global_batch=train.global_batch,
        num_epochs=train.epochs,
        seed=settings.seed,
        bucket_batches=train.bucket_batches,
        max_steps=train.max_steps,
    )


def micro_batch_of(settings: Settings) -> int:
    """Return the rows of a micro-step where nobody has found out what fits: 16 for `auto`.

    `fit.micro_batch_of` finds out.
    """
    train = settings.train
    wish = 16 if train.micro_batch == "auto" else train.micro_batch
    return fitting_micro_batch(wish, train.global_batch, train.num_workers)


def identity_of(settings: Settings) -> dict[str, Any]:
    """Return the settings, by flag, that a run cannot change and still be the same run."""
    of_no_weight = {
        "max_failures",
        "max_skipped_steps",
        "checkpoint_every_steps",
        "cpus_per_worker",
        "device",
    }
    train = settings.train.model_dump(mode="json", exclude={*of_no_weight, "micro_batch"})
    flags = {f"--train.{name.replace('_', '-')}": value for name, value in train.items()}
    return flags | {"--model.name": settings.model.name, "--seed": settings.seed}


def checkpoints_of(run_path: str) -> str:
    """Return the checkpoint folder of a run."""
    return f"{run_path}/checkpoints"
