"""The windows per second that one gathering task delivers, for sets of up to ten million windows.

    python -m benchmarks.gathering
    python -m benchmarks.gathering 88000 10000000

Lengths and windows are simulated; the tasks are those of the training job, one after another in one
worker of Ray, with what they read in Ray's object store. The first task of a process computes the
epoch's order and is shown apart.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from qa_lib.machines.ray_session import start_ray
from qa_lib.training import dataset, planned_data
from qa_lib.training.batch_plan import BatchPlan

NUM_WINDOWS = (88_000, 1_000_000, 10_000_000)
GLOBAL_BATCH = 16
STORED_TOKENS = 16  # of each window: ten million whole ones are 7 GB
NUM_TASKS = 40


def block_of(first: int, num_windows: int) -> pa.Table:
    """Return a block of simulated windows with the columns that training reads."""
    tokens = np.arange(num_windows * STORED_TOKENS, dtype=np.int32) % 30_000
    offsets = np.arange(0, len(tokens) + 1, STORED_TOKENS, dtype=np.int32)
    row = np.arange(first, first + num_windows, dtype=np.int32)
    return pa.table(
        {
            "input_ids": pa.ListArray.from_arrays(offsets, tokens),
            **{name: row for name in ("row", "length", "context_start", "context_end")},
            "start": row,
            "end": row,
        }
    )


def measure(num_windows: int) -> tuple[float, float]:
    """Return the seconds of the first task, and the median windows per second of the others."""
    random = np.random.default_rng(0)
    lengths = random.integers(40, 385, num_windows).astype(np.int32)
    plan = BatchPlan(lengths, GLOBAL_BATCH, num_epochs=2, seed=0)
    per_block = dataset.questions_per_block(num_windows)
    starts = np.arange(0, num_windows, per_block)
    counts = np.diff([*starts, num_windows]).tolist()
    blocks = [ray.put(block_of(*pair)) for pair in zip(starts.tolist(), counts, strict=True)]
    steps_per_task = planned_data.steps_per_task(plan, world_size=1)
    plan.fingerprint  # noqa: B018 - as the job does
    gather = partial(
        planned_data.gather_stretch,
        plan=ray.put(plan),
        share=(0, 1, GLOBAL_BATCH),
        blocks=blocks,
        starts=starts,
        steps=range(plan.num_steps),
        steps_per_task=steps_per_task,
    )
    run: Any = ray.remote(num_cpus=1)(gather_one)
    gather_ref, seconds = ray.put(gather), []
    for number in random.integers(0, plan.steps_per_epoch // steps_per_task, NUM_TASKS).tolist():
        started = time.perf_counter()
        ray.get(run.remote(gather_ref, number))
        seconds.append(time.perf_counter() - started)
    windows_per_task = steps_per_task * GLOBAL_BATCH
    return seconds[0], windows_per_task / statistics.median(seconds[1:])


def gather_one(gather: Any, number: int) -> int:
    """Gather one stretch of the plan, as a task of Ray Data does; return its windows."""
    return gather(pa.table({"id": [number]})).num_rows


def main(argv: list[str]) -> None:
    """Measure each size, and print the table."""
    start_ray(num_cpus=1)
    print("| windows | first task of a process | a later task, windows/s |\n|---|---|---|")
    for num_windows in [int(word) for word in argv] or NUM_WINDOWS:
        first_s, rate = measure(num_windows)
        print(f"| {num_windows:,} | {first_s:.2f} s | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
