"""What the training benchmarks share: windows by a batch plan, and the job's engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from qa_lib import models, training, windows
from qa_lib.data import load_questions

if TYPE_CHECKING:
    import pyarrow as pa

    from qa_lib.config import Settings
    from qa_lib.data import Questions
    from qa_lib.models.kernels import Kernels
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.training.batch_plan import BatchPlan
    from qa_lib.training.engine import Engine
    from qa_lib.training.loop import StepBatch


class Work(NamedTuple):
    """Questions, their windows, and the batch plan."""

    questions: Questions
    table: pa.Table
    plan: BatchPlan
    tokenizer: Any
    spec: windows.WindowSpec


def prepare(settings: Settings) -> Work:
    """Load questions, cut windows and plan batches as the job does, in this process."""
    questions = load_questions(settings.data, "train")
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    table = windows.build(questions.table, tokenizer, spec, characters=False).table
    plan = training.plan_of(settings, windows.lengths(table))
    return Work(questions, table, plan, tokenizer, spec)


def train_job(settings: Settings, questions: Questions) -> tuple[RunFolder, dict[str, Any]]:
    """Run the job's training, by Ray; return its run folder and the fields of its result."""
    from qa_lib.runs.run_folder import RunFolder

    with RunFolder.open(settings, "train") as run:
        return run, training.fine_tune(settings, run, questions).fields()


def kernels_of(settings: Settings, plan: BatchPlan) -> Kernels:
    """Set torch's threads, and choose kernels as a rank of the job does: the best known here."""
    from qa_lib.machines import devices
    from qa_lib.models.kernels import Workload, choose
    from qa_lib.training.micro_batch import unmeasured_micro_batch

    train, config = settings.train, models.load_config(settings.model.name)
    devices.set_up_cpu(devices.num_local_cpus())
    if train.dropout is not None:
        models.set_dropout(config, train.dropout)
    workload = Workload(unmeasured_micro_batch(settings), int(plan.lengths.mean()), trains=True)
    return choose(config, workload, device="cpu", precision=train.precision, kernel=train.attention)


def engine_here(
    settings: Settings, plan: BatchPlan, precision: str, num_threads: int, **group: Any
) -> Engine:
    """Return a worker's engine in this process, in a group of one unless `group` names others.

    Args:
        settings: Of the training.
        plan: Its steps count for the learning rate.
        precision: fp32 or bf16.
        num_threads: Of torch.
        group: `rank`, `world_size` and `store` of `join_group`.
    """
    import torch

    from qa_lib.training.engine import Engine
    from qa_lib.training.group import join_group
    from qa_lib.training.micro_batch import unmeasured_micro_batch

    join_group("cpu", num_threads, **group)
    train = settings.train
    return Engine(
        models.load(settings.model.name, seed=settings.seed, dropout=train.dropout),
        train,
        precision=precision,
        device=torch.device("cpu"),
        num_steps=plan.num_steps,
        micro_batch=unmeasured_micro_batch(settings),
        seed=settings.seed,
    )


def batches_of(
    settings: Settings, work: Work, *, rank: int = 0, world_size: int = 1
) -> Iterator[StepBatch]:
    """Yield a rank's batches of the plan."""
    import pyarrow as pa

    from qa_lib.training.loop import planned_batches
    from qa_lib.training.micro_batch import unmeasured_micro_batch

    return planned_batches(
        work.plan,
        lambda indices: work.table.take(pa.array(indices)),
        windows.PadSpec.of(work.tokenizer),
        unmeasured_micro_batch(settings),
        rank=rank,
        world_size=world_size,
    )
