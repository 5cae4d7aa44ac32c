"""Fine-tuning: a batch plan, delivered by Ray Data, trained by DeepSpeed inside Ray Train workers.

`driver` asks for the workers and watches them, `worker` is what each of them runs. They share a
plan, so the driver can check afterwards, from the ledger that the workers kept, that every window
was trained exactly once.
"""

from __future__ import annotations

from qa_lib.train.driver import describe, fine_tune
from qa_lib.train.ledger import check_ledger
from qa_lib.train.task import plan_of

__all__ = ["check_ledger", "describe", "fine_tune", "plan_of"]
