"""What a training benchmark trains, and with what: windows by a plan, the job's engine here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from qa_lib import models, training, windows
from qa_lib.data import load_questions

if TYPE_CHECKING:
    import pyarrow as pa

    from qa_lib.config import Settings
    from qa_lib.data import Questions
    from qa_lib.training.batch_plan import BatchPlan
    from qa_lib.training.engine import Engine


class Work(NamedTuple):
    """Questions, their windows, and which of these make up which step."""

    questions: Questions
    table: pa.Table
    plan: BatchPlan
    tokenizer: Any
    spec: windows.WindowSpec


def prepare(settings: Settings) -> Work:
    """Load, cut and plan as the job does, in this process."""
    questions = load_questions(settings.data, "train")
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    table = windows.build(questions.table, tokenizer, spec, characters=False).table
    plan = training.plan_of(settings, windows.lengths(table))
    return Work(questions, table, plan, tokenizer, spec)


def engine_here(
    settings: Settings,
    plan: BatchPlan,
    precision: str,
    micro_batch: int,
    *,
    store: Any = None,
    rank: int = 0,
    world_size: int = 1,
) -> Engine:
    """Join a gloo group, of this process alone unless said otherwise; return a worker's engine.

    Args:
        settings: Of the training.
        plan: Whose steps are counted for the learning rate.
        precision: fp32 or bf16.
        micro_batch: Windows per rank and micro-step.
        store: Of torch.distributed, where the ranks of a larger group meet.
        rank: Of this process.
        world_size: Ranks of the group.
    """
    os.environ |= {"DS_ACCELERATOR": "cpu", "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    import torch
    import torch.distributed as dist

    from qa_lib.training.engine import Engine

    store = store or dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    train = settings.train
    return Engine(
        models.load(settings.model.name, seed=settings.seed, dropout=train.dropout),
        train,
        precision=precision,
        device=torch.device("cpu"),
        num_steps=plan.num_steps,
        micro_batch=micro_batch,
    )
