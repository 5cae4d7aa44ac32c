"""The windows per second that one gathering task delivers, for sets of up to ten million windows.

    python -m benchmarks.gathering
    python -m benchmarks.gathering 88000 10000000
    python -m benchmarks.gathering --stored 2000000    # from shards on storage
    python -m benchmarks.gathering --plan 100000000    # the driver's memory, with lengths alone

Lengths and windows are simulated; the tasks are those of the training job, one after another in one
worker of Ray, with what they read in Ray's object store, or on a local disk. The first task of a
process computes the order of the epoch, or of a pool, and is shown apart.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from qa_lib.machines.ray_session import start_ray
from qa_lib.training import dataset, planned_data
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.windows import shards

NUM_WINDOWS = (88_000, 1_000_000, 10_000_000)
GLOBAL_BATCH = 16
STORED_TOKENS = 16  # of each window in memory: ten million whole ones are 7 GB
MEAN_TOKENS = 170  # of SQuAD's windows: on storage they are whole
NUM_TASKS = 40


def block_of(first: int, num_windows: int, num_tokens: int = STORED_TOKENS) -> pa.Table:
    """Return a block of simulated windows with the columns that training reads."""
    tokens = np.random.default_rng(first).integers(0, 30_000, num_windows * num_tokens, np.int32)
    offsets = np.arange(0, len(tokens) + 1, num_tokens, dtype=np.int32)
    row = np.arange(first, first + num_windows, dtype=np.int32)
    return pa.table(
        {
            "input_ids": pa.ListArray.from_arrays(offsets, tokens),
            **{name: row for name in ("row", "length", "context_start", "context_end")},
            "start": row,
            "end": row,
        }
    )


def measure(num_windows: int, storage: Path | None) -> tuple[float, float]:
    """Return the seconds of the first task, and the median windows per second of the others."""
    random = np.random.default_rng(0)
    plan = plan_of(num_windows)
    per_block = 65_000 if storage else dataset.questions_per_block(num_windows)
    starts = np.arange(0, num_windows, per_block)
    counts = np.diff([*starts, num_windows]).tolist()
    pairs = zip(starts.tolist(), counts, strict=True)
    blocks: list[Any]
    if storage:
        blocks = [
            shards.store(f"{storage}/{first}", partial(simulated, first, count))
            for first, count in pairs
        ]
    else:
        blocks = [ray.put(block_of(*pair)) for pair in pairs]
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
    numbers = random.integers(0, plan.steps_per_epoch // steps_per_task, NUM_TASKS)
    for number in numbers.tolist() if not storage else range(NUM_TASKS // 2):
        started = time.perf_counter()
        num_taken = ray.get(run.remote(gather_ref, number))
        seconds.append((time.perf_counter() - started) / num_taken)
    return seconds[0] * steps_per_task * GLOBAL_BATCH, 1 / statistics.median(seconds[1:])


def plan_of(num_windows: int) -> BatchPlan:
    """Return a plan of two epochs over windows of simulated lengths."""
    lengths = np.random.default_rng(0).integers(40, 385, num_windows, np.int32)
    return BatchPlan(lengths, GLOBAL_BATCH, num_epochs=2, seed=0)


def simulated(first: int, num_windows: int) -> tuple[pa.Table, list[int]]:
    """Return whole windows for a shard, none too long."""
    return block_of(first, num_windows, MEAN_TOKENS), []


def gather_one(gather: Any, number: int) -> int:
    """Gather one stretch of the plan, as a task of Ray Data does; return its windows."""
    return gather(pa.table({"id": [number]})).num_rows


def plan_and_resume(num_windows: int) -> None:
    """Plan, and take the first batch and one late in the second epoch, as a resumed run does."""
    started = time.perf_counter()
    plan = plan_of(num_windows)
    simulated_s = time.perf_counter() - started
    fingerprint = plan.fingerprint
    first, late = plan.batch(0), plan.batch(plan.num_steps * 3 // 4)
    seconds = time.perf_counter() - started - simulated_s
    assert len(first) == len(late) == GLOBAL_BATCH and fingerprint
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{num_windows:,} windows planned and resumed in {seconds:.1f} s; the process has held "
        f"{peak / 2**30:.2f} GiB at most, Ray's and torch's modules included"
    )


def main() -> None:
    """Measure each size, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.gathering")
    parser.add_argument("num_windows", type=int, nargs="*", default=NUM_WINDOWS)
    parser.add_argument("--stored", action="store_true", help="from shards on a local disk")
    parser.add_argument("--plan", action="store_true", help="only plan and resume, without Ray")
    options = parser.parse_args()
    if options.plan:
        for num_windows in options.num_windows:
            plan_and_resume(num_windows)
        return
    start_ray(num_cpus=1)
    print("| windows | first task of a process | a later task, windows/s |\n|---|---|---|")
    for num_windows in options.num_windows:
        with tempfile.TemporaryDirectory(prefix="qa-shards-") as folder:
            first_s, rate = measure(num_windows, Path(folder) if options.stored else None)
        print(f"| {num_windows:,} | {first_s:.2f} s | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
