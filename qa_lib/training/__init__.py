"""Fine-tuning: a batch plan, delivered by Ray Data, trained by DeepSpeed in Ray Train workers.

`driver` starts the workers and watches them, `worker` is one rank, `loop` takes the steps. Driver
and ranks share the batch plan, so the driver can check afterwards, against the ranks' ledger, that
every window was trained exactly once.
"""

from __future__ import annotations

from qa_lib.training.batch_plan import plan_of
from qa_lib.training.driver import fine_tune
from qa_lib.training.ledger import LEDGER, check_ledger, read_ledger
from qa_lib.training.preview import check_models, check_sources, describe
from qa_lib.training.task import checkpoints_of

__all__ = [
    "LEDGER",
    "check_ledger",
    "check_models",
    "check_sources",
    "checkpoints_of",
    "describe",
    "fine_tune",
    "plan_of",
    "read_ledger",
]
