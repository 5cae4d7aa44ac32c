"""One rank's checkpoints, and the ledger that travels inside them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch.distributed as dist

from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.folder import Folder
from qa_lib.training.engine import Engine
from qa_lib.training.ledger import LEDGER, SCHEMA
from qa_lib.training.task import TrainTask, identity_of


class Keeper:
    """One rank's checkpoints, and the ledger that travels inside them."""

    def __init__(self, task: TrainTask, engine: Engine, rank: int) -> None:
        """Attach to the run's checkpoints, with nothing trained."""
        self._store = CheckpointStore(task.checkpoints)
        self._task, self._engine, self._rank = task, engine, rank
        self._ledger = SCHEMA.empty_table()
        self._pending: list[pa.Table] = []

    def note(self, step: int, rows: list[pa.Table]) -> None:
        """Record this rank's windows as trained; called only after the optimizer step."""
        for part in rows:
            indices = column(part, "window_index", np.int32)[column(part, "weight", bool)]
            steps = np.full(len(indices), step, np.int32)
            self._pending.append(pa.table([steps, indices], schema=SCHEMA))

    def save(self) -> None:
        """Store the engine's state and the ledger; every rank calls it after the same step."""

        def gather(value: Any) -> list[Any]:
            values: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(values, value)
            return values

        with tempfile.TemporaryDirectory(prefix="qa-checkpoint-") as folder:
            self._engine.save(Path(folder))
            pq.write_table(self._merged(), Path(folder) / f"ledger-{self._rank:05d}.parquet")
            meta = {
                "settings": identity_of(self._task.settings),
                "plan": self._task.plan.fingerprint,
            }
            self._store.write(
                self._engine.step_number,
                Path(folder),
                meta,
                is_main=self._rank == 0,
                gather=gather,
            )

    def restore(self) -> None:
        """Continue from the newest good checkpoint, where there is one."""
        found = agree(self._store.newest_good() if self._rank == 0 else None)
        if self._rank == 0:
            self._store.discard_after(found.step if found else -1)
        if found is None:
            return
        with tempfile.TemporaryDirectory(prefix="qa-checkpoint-") as folder:
            self._store.fetch(found, Path(folder))
            self._engine.load(Path(folder))
            self._ledger = pq.read_table(Path(folder) / f"ledger-{self._rank:05d}.parquet")

    def write_ledger(self) -> None:
        """Gather all ranks' ledgers into the run's ledger.parquet."""
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, self._merged())
        if self._rank == 0:
            Folder(self._task.run_path).write_parquet(LEDGER, pa.concat_tables(parts))

    def _merged(self) -> pa.Table:
        self._ledger = pa.concat_tables([self._ledger, *self._pending]).combine_chunks()
        self._pending = []
        return self._ledger


def agree(value: Any) -> Any:
    """Return rank 0's value on every rank."""
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def column(table: pa.Table, name: str, dtype: Any) -> np.ndarray:
    """Return a column as a numpy array of a type."""
    return table[name].to_numpy().astype(dtype)
