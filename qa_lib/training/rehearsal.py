"""Steps of a training as they will be, on this machine's CPU, to say how long all of them take."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib import models, windows

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.models.kernels import Kernels
    from qa_lib.training.batch_plan import BatchPlan

_STEPS, _TURNS = 8, 3
_MOST_S = 8.0


def rehearse(
    settings: Settings, table: pa.Table, plan: BatchPlan, kernels: Kernels, micro_batch: int
) -> float:
    """Return the seconds of all steps, from some that are taken and thrown away.

    The plan's steps are ordered by their tokens and cut into equal parts, of each of which the
    middle one is taken: a stratified sample, of which each counts with its fastest turn. It takes
    eight seconds at most, or one step. torch's threads are those of the process.

    Args:
        settings: Of the training; a teacher's work is not counted.
        table: All windows of the plan, with labels.
        plan: The batch plan.
        kernels: What the ranks will compute with.
        micro_batch: Windows of a micro-batch.
    """
    import torch

    from qa_lib.training.losses import window_losses
    from qa_lib.training.optimizer import build_optimizer

    train = settings.train
    model = models.load(settings.model.name, seed=settings.seed, dropout=train.dropout).train()
    kernels.apply(model)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = build_optimizer(model, train)
    pad = windows.PadSpec.of(models.load_tokenizer(settings.model.name), settings.data.max_length)
    is_bf16 = kernels.precision == "bf16"

    def seconds_of(step: int) -> float:
        """Take one rank's share of a step: its first micro-batch stands for the others."""
        indices, _ = plan.share(step, 0, train.max_workers, micro_batch)
        batch = windows.collate(table.take(pa.array(indices[:micro_batch])), pad)
        inputs = {name: batch[name] for name in batch if not name.endswith("_positions")}
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            output = model(**inputs)
        window_losses(output.start_logits, output.end_logits, batch).mean().backward()
        computed = time.perf_counter()
        optimizer.clip(train.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        num_micro_batches = -(-len(indices) // micro_batch)
        return num_micro_batches * (computed - started) + time.perf_counter() - computed

    tokens = [int(plan.lengths[plan.batch(step)].sum()) for step in range(plan.num_steps)]
    parts = np.array_split(np.argsort(tokens), min(_STEPS, plan.num_steps))
    middle = [int(part[len(part) // 2]) for part in parts]
    began = time.perf_counter()
    seconds_of(middle[len(middle) // 2])  # the first step makes moments and buffers
    found: dict[int, float] = {}
    # From the middle outwards, so that a sample cut short is still typical; and several times, for
    # what else the machine does can make a step take many times as long.
    outwards = sorted(middle, key=lambda step: abs(middle.index(step) - len(middle) / 2))
    for step in outwards * _TURNS:
        found[step] = min(seconds_of(step), found.get(step, math.inf))
        if time.perf_counter() - began > _MOST_S:
            break
    share = sum(found.values()) / sum(tokens[step] for step in found)
    return share * sum(tokens)
