"""The training loop of the training job's ranks, of a search's trials and of the benchmarks.

They differ in where windows come from and in what happens between steps: they pass batches and a
callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from qa_lib import windows
from qa_lib.training import teacher, teacher_only
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.engine import Engine, StepResult
from qa_lib.training.losses import Batch

Ending = Literal["done", "stopped", "regrouping", "diverged", "unsaved"]
"""How a loop ended: as planned, on request, for another group to go on, without finite losses and
weights, or because no checkpoint could be written."""


class StepBatch(NamedTuple):
    """One rank's share of an optimizer step.

    Attributes:
        step: Number of the step, from 0.
        tables: The windows of each micro-batch, with a column `weight`: 1 trained, 0 filler.
        micro_batches: The same, padded, with (windows,) float32 weights.
        num_windows: Windows of weight 1 in the global batch, over all ranks.
    """

    step: int
    tables: list[pa.Table]
    micro_batches: list[tuple[Batch, torch.Tensor]]
    num_windows: int


def take_steps(
    engine: Engine,
    batches: Iterable[StepBatch],
    until: int,
    after_step: Callable[[StepBatch, StepResult], Ending | None] = lambda *_: None,
) -> Ending:
    """Take optimizer steps from where the engine stands until it has taken `until` in all.

    Args:
        engine: Trains.
        batches: One per step, from the engine's next step on.
        until: Steps in all.
        after_step: Called after every step; an ending that it returns ends the loop.
    """
    for batch in islice(batches, max(0, until - engine.step_number)):
        assert batch.step == engine.step_number, f"{batch.step} follows {engine.step_number - 1}"
        result = engine.step(batch.micro_batches, batch.num_windows)
        ending = after_step(batch, result)
        if ending:
            return ending
    return "done"


def planned_batches(
    plan: BatchPlan,
    take: Callable[[np.ndarray], pa.Table],
    pad: windows.PadSpec,
    micro_batch: int,
    *,
    first_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[StepBatch]:
    """Yield a rank's batches of the plan, in a process that can take any window.

    Args:
        plan: The batch plan.
        take: Maps (windows,) int64 window indices to a table of these windows.
        pad: The tokenizer's padding.
        micro_batch: Windows per rank and micro-step.
        first_step: Step of the first batch.
        rank: Of the share.
        world_size: Ranks that share a batch.
    """
    for step in range(first_step, plan.num_steps):
        indices, weights = plan.share(step, rank, world_size, micro_batch)
        table = take(indices).append_column("weight", pa.array(weights))
        starts = range(0, len(indices), micro_batch)
        tables = [table.slice(start, micro_batch) for start in starts]
        yield collate(step, tables, len(plan.batch(step)), pad)


def collate(step: int, tables: list[pa.Table], num_windows: int, pad: windows.PadSpec) -> StepBatch:
    """Pad the micro-batches of a step, and the teacher's logits with them."""
    micro_batches = []
    for table in tables:
        batch = windows.collate(table, pad)
        batch |= teacher.collate(table, batch["input_ids"].shape[1])
        batch |= teacher_only.collate(table)
        weights = table["weight"].to_numpy().astype(np.float32)
        micro_batches.append((batch, torch.from_numpy(weights)))
    return StepBatch(step, tables, micro_batches, num_windows)
