"""Fine-tuning: a batch plan, delivered by Ray Data, trained by DeepSpeed inside Ray Train workers.

`driver` asks for the workers and watches them, `worker` is what each of them runs. They share a
plan, so the driver can check afterwards, from the ledger that the workers kept, that every window
was trained exactly once.
"""

from __future__ import annotations

from qa_lib.training.driver import describe, fine_tune
from qa_lib.training.ledger import LEDGER, check_ledger, read_ledger
from qa_lib.training.task import checkpoints_of, micro_batch_of, plan_of

__all__ = [
    "LEDGER",
    "check_ledger",
    "checkpoints_of",
    "describe",
    "fine_tune",
    "micro_batch_of",
    "plan_of",
    "read_ledger",
]
