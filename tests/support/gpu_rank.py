"""A group of one on a device: the losses of each precision and ZeRO stage, and an overflow.

    python -m tests.support.gpu_rank DEVICE FILE

tests/gpu/test_engine.py runs it on the GPU and on the CPU, and compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from qa_lib.training.group import join_group
from qa_lib.training.losses import window_losses
from tests.support import zero_rank

# What DeepSpeed takes on a device.
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")}
ADAMW = {"micro_batch": 4, "learning_rate": 1e-3, "adam_epsilon": 1e-6}


def overflow(precision: str, stage: int) -> dict:
    """Let the gradients of the third and fourth step overflow; return what was skipped.

    DeepSpeed lowers the loss scale at the second overflow in a row.
    """
    num_calls = 0

    def exploding(start_logits, end_logits, batch):
        nonlocal num_calls
        num_calls += 1
        losses = window_losses(start_logits, end_logits, batch)
        if num_calls not in range(5, 9):  # two micro-batches a step
            return losses
        return losses * 1e5 if precision == "fp16" else zero_rank.poison_gradient(
            losses, start_logits
        )  # fmt: skip

    engine = zero_rank.build(precision=precision, zero_stage=stage, losses=exploding, **ADAMW)
    results = zero_rank.run(engine, until=7)
    return {
        "skipped": [result.skipped for result in results],
        "losses": [result.loss for result in results],
        "scale": getattr(engine._engine.optimizer, "loss_scale", None),
    }


def main(device: str, path: Path) -> None:
    """Train in every way, and write what can be compared."""
    zero_rank.DEVICE = torch.device(device)
    join_group(device, 2)
    found: dict = {"losses": {}, "overflow": {}}
    for precision in PRECISIONS[device]:
        for stage in zero_rank.STAGES:
            engine = zero_rank.build(precision=precision, zero_stage=stage, **ADAMW)
            losses = zero_rank.losses_of(zero_rank.run(engine))
            found["losses"][f"{precision} {stage}"] = losses
            found["overflow"][f"{precision} {stage}"] = overflow(precision, stage)
    path.write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
