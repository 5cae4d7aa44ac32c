"""Saving the training state: seconds and bytes, against DeepSpeed's own `save_checkpoint`.

    python -m benchmarks.checkpoint
    python -m benchmarks.checkpoint --train.num-workers 1

Two processes train the embedded model for a step at each ZeRO stage, in fp32 on the CPU, and then
save in turns into a folder on the local disk, without manifest or upload. Seconds are the medians
of the slower rank; bytes are those of all ranks together. Training waits for the copy only (column
`waits`): a thread writes it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from jobs import _runner

FLAGS = """
    --train.num-workers 2 --train.precision fp32 --train.micro-batch 2 --train.global-batch 4
    --data.train-limit 50
    --train.no-freeze-embeddings
"""
NUM_TIMES = 5
MEBIBYTE = 2**20


def timed(save: Callable[[Path], Any]) -> tuple[float, int]:
    """Return the seconds that the slower rank took to save, and the bytes of all ranks."""
    import torch.distributed as dist

    from qa_lib.training.group import agree, gather

    with tempfile.TemporaryDirectory() as mine:
        shared = Path(agree(mine))
        dist.barrier()
        started = time.monotonic()
        save(shared)
        seconds = max(gather(time.monotonic() - started))
        num_bytes = sum(path.stat().st_size for path in shared.rglob("*") if path.is_file())
        dist.barrier()
    return seconds, num_bytes


def measure(rank: int, folder: str, flags: list[str]) -> None:
    """Run one rank; rank 0 prints a line."""
    import torch.distributed as dist

    from benchmarks._work import batches_of, engine_here, prepare
    from qa_lib import config

    settings = config.parse("train", flags)
    size = settings.train.max_workers
    work = prepare(settings)
    store = dist.FileStore(f"{folder}/store", size)
    group = {"rank": rank, "world_size": size}
    engine = engine_here(settings, work.plan, "fp32", 1, **group, store=store)
    batch = next(iter(batches_of(settings, work, **group)))
    engine.step(batch.micro_batches, batch.num_windows)
    ways: list[Callable[[Path], Any]] = [
        engine.copy_state,
        engine.save,
        lambda path: engine._engine.save_checkpoint(str(path), tag="own"),
    ]
    figures = [[timed(way) for way in ways] for _ in range(NUM_TIMES)]
    if rank == 0:
        waits, ours, theirs = (
            f"{median(seconds for seconds, _ in way):9.2f} {way[0][1] / MEBIBYTE:9.1f}"
            for way in zip(*figures, strict=True)
        )
        print(f"{settings.train.zero_stage:>4}  {waits[:9]}  {ours}  {theirs}", flush=True)


def run_group(flags: list[str]) -> None:
    """Start the ranks of a group, and wait for them."""
    from qa_lib import config

    num_workers = config.parse("train", flags).train.max_workers
    command = [sys.executable, "-m", "benchmarks.checkpoint", "--rank"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen([*command, str(rank), folder, *flags], env=environment)
            for rank in range(num_workers)
        ]
        codes = [rank.wait() for rank in ranks]
    assert not any(codes), codes


def main() -> None:
    """Start a group per stage, or be one of its ranks."""
    _runner.quiet_libraries()
    if sys.argv[1:2] == ["--rank"]:
        measure(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
        return
    print(f"{'':>4}  {'ours':>30}  {'DeepSpeed':>19}")
    pair = f"{'seconds':>9} {'MiB':>9}"
    print(f"{'ZeRO':>4}  {'waits':>9}  {pair}  {pair}", flush=True)
    for stage in range(4):
        run_group([*FLAGS.split(), *sys.argv[1:], "--train.zero-stage", str(stage)])


if __name__ == "__main__":
    main()
