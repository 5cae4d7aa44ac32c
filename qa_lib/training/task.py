"""What the driver gives every rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qa_lib.config import Settings
from qa_lib.training.batch_plan import BatchPlan


@dataclass(frozen=True)
class TrainTask:
    """Everything a rank needs except the windows, which come through Ray Data.

    Attributes:
        settings: The resolved settings.
        run_path: The run folder, path or URL.
        plan: Which windows make up which step.
        micro_batch: Windows per rank and micro-step.
        device: cpu or cuda.
        monitor: Handle of the `Monitor` actor.
        last_step: Optimizer steps after which the ranks end; the plan may have more.
        sources: What `sources.fingerprints` returned; checkpoints record it.
    """

    settings: Settings
    run_path: str
    plan: BatchPlan
    micro_batch: int
    device: str
    monitor: Any
    last_step: int
    sources: dict[str, str]


def checkpoints_of(run_path: str) -> str:
    """Return the checkpoint folder of a run."""
    return f"{run_path}/checkpoints"


def identity_of(settings: Settings) -> dict[str, Any]:
    """Return, by flag, the settings that a resumed run must share with its checkpoint."""
    changeable = {
        "max_failures",
        "max_skipped_steps",
        "checkpoint_every_steps",
        "cpus_per_worker",
        "device",
        "micro_batch",
    }
    train = settings.train.model_dump(mode="json", exclude=changeable)
    flags = {f"--train.{name.replace('_', '-')}": value for name, value in train.items()}
    return flags | {"--model.name": settings.model.name, "--seed": settings.seed}
