"""The ledger: which window was trained in which step, kept inside the checkpoints.

It travels with the weights and is the history of those weights only: steps that a crash undid are
not in it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from qa_lib.runs.run_folder import RunFolder
from qa_lib.training.batch_plan import BatchPlan

LEDGER = "ledger.parquet"
SCHEMA = pa.schema([("step", pa.int32()), ("window_index", pa.int32())])
"""A row per trained window: the optimizer step, and the window's index in its split."""


def check_ledger(ledger: pa.Table, plan: BatchPlan, num_steps: int) -> None:
    """Assert that a ledger holds every planned window exactly once.

    Args:
        ledger: Of `SCHEMA`.
        plan: What should have been trained.
        num_steps: Optimizer steps taken.
    """
    steps, indices = ledger["step"].to_numpy(), ledger["window_index"].to_numpy()
    order = np.lexsort((indices, steps))
    planned = [np.sort(plan.batch(step)) for step in range(num_steps)]
    expected_steps = np.repeat(np.arange(num_steps), [len(batch) for batch in planned])
    assert np.array_equal(steps[order], expected_steps), "the ledger misses or repeats steps"
    assert np.array_equal(indices[order], np.concatenate(planned)), "windows missed or repeated"
    for epoch in range(num_steps // plan.steps_per_epoch):
        of_epoch = indices[steps // plan.steps_per_epoch == epoch]
        assert np.array_equal(np.sort(of_epoch), np.arange(plan.num_windows))


def read_ledger(run: RunFolder) -> pa.Table:
    """Read a finished run's ledger."""
    return run.read_parquet(LEDGER)
