"""What the driver gives every rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib.config import Settings
from qa_lib.runs import storage
from qa_lib.training.batch_plan import BatchPlan

if TYPE_CHECKING:
    from qa_lib.training.correspondence import Correspondence
    from qa_lib.training.dataset import WindowSet
    from qa_lib.training.held_out import Judge
    from qa_lib.training.planned_data import PlannedData


@dataclass(frozen=True)
class TrainTask:
    """Everything a rank needs.

    Attributes:
        settings: The resolved settings.
        run_path: The run folder, path or URL.
        plan: Which windows make up which step.
        data: The windows, which come through Ray Data.
        micro_batch: Windows per rank and micro-step.
        device: cpu or cuda.
        monitor: Handle of the `Monitor` actor.
        last_step: Optimizer steps after which the ranks end; the plan may have more.
        sources: What `sources.fingerprints` returned; checkpoints record it.
        match: Where the teacher has the student's states, if it teaches inside.
        judge: Scores the model every `train.evaluate_every` steps, if it is to be.
        held_out: The windows of the judge's questions.
    """

    settings: Settings
    run_path: str
    plan: BatchPlan
    data: PlannedData
    micro_batch: int
    device: str
    monitor: Any
    last_step: int
    sources: dict[str, str]
    match: Correspondence | None = None
    judge: Judge | None = None
    held_out: WindowSet | None = None


def checkpoints_of(run_path: str) -> str:
    """Return the checkpoint folder of a run."""
    return storage.join(run_path, "checkpoints")


STATE = "state.json"
"""A checkpoint's steps and loss scale; those of versions that wrote pickles have no such file."""

MICRO_BATCH = "micro_batch"
"""In a checkpoint's notes: the micro-batch, which `auto` may choose otherwise the next time."""

OLD_REMEDY = (
    "Its files are pickles, which can run code, and are not opened. Finish the run with the "
    "version that began it, or start a new run."
)

MAY_CHANGE = {
    "num_workers": "losses agree to rounding; the global batch stays",
    "zero_stage": "losses agree to rounding",
    "offload_optimizer": "losses agree to rounding",
    "gradient_checkpointing": "losses agree to rounding",
    "micro_batch": "losses agree to rounding; with dropout, other units are dropped",
    "device": "losses agree to rounding; with dropout, other units are dropped",
    "attention": "losses agree to rounding; with dropout, other units are dropped",
    "precision": "losses differ by the arithmetic; weights and moments stay fp32 throughout",
    "cpus_per_worker": "nothing",
    "checkpoint_every_steps": "nothing",
    "max_failures": "nothing",
    "max_skipped_steps": "nothing",
    "patience": "the step at which it may end",
}
"""By field of `train`, what may change on --resume and what of the run changes with it. No other
setting of `train` may, nor may the model, the seed or the windows."""


def identity_of(settings: Settings) -> dict[str, Any]:
    """Return, by flag, the settings that a resumed run must share with its checkpoint."""
    train = settings.train.model_dump(mode="json", exclude=set(MAY_CHANGE))
    return _by_flag(train) | {"--model.name": settings.model.name, "--seed": settings.seed}


def changeable_of(settings: Settings) -> dict[str, Any]:
    """Return, by flag, the settings that may differ from the checkpoint's."""
    return _by_flag(settings.train.model_dump(mode="json", include=set(MAY_CHANGE)))


def _by_flag(train: dict[str, Any]) -> dict[str, Any]:
    return {f"--train.{name.replace('_', '-')}": value for name, value in train.items()}
