"""One rank's checkpoints, and the ledger that travels inside them."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError

from qa_lib.machines import devices
from qa_lib.models.kernels import Kernels
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import Checkpoint, CheckpointStore
from qa_lib.runs.folder import Folder, StoredFile
from qa_lib.training.best import EVALUATIONS
from qa_lib.training.engine import Engine
from qa_lib.training.group import agree, gather
from qa_lib.training.ledger import LEDGER, SCHEMA
from qa_lib.training.loop import StepBatch
from qa_lib.training.sources import SOURCES
from qa_lib.training.task import (
    MICRO_BATCH,
    TrainTask,
    changeable_of,
    checkpoints_of,
    identity_of,
)

_PREFIX = "qa-checkpoint-"  # of folders on the way to a checkpoint and from it


def find_checkpoint(task: TrainTask, rank: int) -> Checkpoint | None:
    """Return the newest good checkpoint on every rank, and remove damaged ones beyond it."""
    store = CheckpointStore(checkpoints_of(task.run_path))
    found: Checkpoint | None = agree(store.newest_good() if rank == 0 else None)
    if rank == 0:
        store.discard_after(found.step if found else -1)
    return found


def kernels_of(found: Checkpoint | None, task: TrainTask) -> Kernels | None:
    """Return the kernels that a checkpoint was trained with, where the settings permit them.

    What is fastest depends on the threads of a rank: another choice after a restart would change
    the arithmetic and what dropout drops. Kernels that this machine can only emulate (bf16 on a
    T4), or with less than float32's accuracy (oneDNN with AMX), are not kept.
    """
    noted = found.meta.get("kernels") if found else None
    train = task.settings.train
    if (
        noted is None
        or noted["device"] != task.device
        or train.precision not in ("auto", noted["precision"])
        or train.attention not in ("auto", noted["attention"])
        or (noted["products"] == "onednn" and not devices.has_onednn())
        or not _computes_well(noted)
    ):
        return None
    return Kernels(noted["precision"], noted["products"], noted["attention"])


def _computes_well(noted: dict[str, Any]) -> bool:
    """Whether this machine's own arithmetic is the noted one, and as exact."""
    if noted["device"] == "cuda":
        return noted["precision"] != "bf16" or devices.resolve_precision("auto", "cuda") == "bf16"
    return noted["products"] == "mkl" or noted["precision"] != "fp32" or devices.onednn_is_exact()


def _make_folder() -> tuple[tempfile.TemporaryDirectory[str] | None, str]:
    """Make a folder for a checkpoint's files; without one, say what prevents it."""
    try:
        return tempfile.TemporaryDirectory(prefix=_PREFIX), ""
    except OSError as error:  # a full disk is no failure of a worker
        return None, storage.first_line(error)


class _Begun(NamedTuple):
    """A checkpoint that a thread stores: its notes, and what `CheckpointStore.put` will say."""

    step: int
    meta: dict[str, Any]
    outcome: Future[list[StoredFile] | str]


class RankCheckpoint:
    """Saves and restores one rank's engine and ledger; all ranks call the same methods."""

    def __init__(self, task: TrainTask, engine: Engine, rank: int, kernels: Kernels) -> None:
        """Open the run's checkpoints; the ledger is empty, and `kernels` are noted in them."""
        self._kernels = kernels
        self._store = CheckpointStore(checkpoints_of(task.run_path))
        self._task, self._engine, self._rank = task, engine, rank
        self._ledger = SCHEMA.empty_table()
        self._pending: list[tuple[int, NDArray[np.int32]]] = []  # step, windows
        self._last_step = 0  # after which a checkpoint was begun, or restored
        self.problem = ""  # why the last checkpoint was not stored, the same on every rank
        self.num_failures = 0  # of checkpoints, in a row
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._begun: _Begun | None = None

    def note(self, batch: StepBatch) -> None:
        """Record this rank's windows as trained; call it only after the optimizer step."""
        indices = [
            table["window_index"].to_numpy().astype(np.int32)[table["weight"].to_numpy() > 0]
            for table in batch.tables
        ]
        self._pending.append((batch.step, np.concatenate(indices)))

    def is_due(self, num_steps: int) -> bool:
        """Say whether a checkpoint is due since the last one, now or after a step before."""
        every = self._task.settings.train.checkpoint_every_steps or self._task.plan.steps_per_epoch
        return num_steps // every > self._last_step // every

    def save(self, evaluations: list[dict[str, Any]]) -> None:
        """Store the engine's state and the ledger; every rank calls it after the same step.

        The evaluations so far are noted in it.

        Where it cannot, `problem` says why, training can go on, and the last good checkpoint is
        untouched.
        """
        self.begin(evaluations)
        self.finish()

    def begin(self, evaluations: list[dict[str, Any]]) -> None:
        """Begin to `save`: copy state and ledger, which a thread stores while training goes on.

        The engine tells the other ranks when this one has done so: `StepResult.writing`.
        """
        self.finish()
        settings = self._task.settings
        meta = {
            "settings": identity_of(settings),
            "changeable": changeable_of(settings),
            "plan": self._task.plan.fingerprint,
            MICRO_BATCH: self._task.micro_batch,
            SOURCES: self._task.sources,
            EVALUATIONS: list(evaluations),
            "kernels": {
                "device": self._task.device,
                "precision": self._kernels.precision,
                "products": self._kernels.products,
                "attention": self._kernels.attention,
            },
        }
        step, ledger = self._engine.step_number, self._merged()
        self._last_step = step
        folder, problem = _make_folder()
        # All ranks gather the state, also where one has no room for it.
        write_state = self._engine.copy_state(Path(folder.name if folder else os.devnull))

        def store() -> list[StoredFile] | str:
            try:
                if folder is None:
                    return problem
                with folder as name:
                    write_state()
                    pq.write_table(ledger, Path(name, f"ledger-{self._rank:05d}.parquet"))
                    return self._store.put(step, Path(name))
            except (OSError, SafetensorError) as error:
                return storage.first_line(error)
            finally:
                self._engine.is_writing = False

        self._engine.is_writing = True
        self._begun = _Begun(step, meta, self._thread.submit(store))

    @property
    def begun_step(self) -> int | None:
        """The step of a checkpoint that was begun and not finished, the same on every rank."""
        return self._begun.step if self._begun else None

    def finish(self) -> None:
        """Wait until the checkpoint that was begun is stored on all ranks; it counts from now on.

        Every rank calls it after the same step.
        """
        if self._begun is None:
            return
        begun, self._begun = self._begun, None
        self._store.conclude(
            begun.step, begun.outcome.result(), begun.meta, is_main=self._rank == 0, gather=gather
        )
        self.problem = self._store.problem
        self.num_failures = self.num_failures + 1 if self.problem else 0

    def restore(self, found: Checkpoint | None) -> None:
        """Continue from a checkpoint, which any number of ranks wrote, if there is one."""
        if found is None:
            return
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
            folder = Path(name)
            self._store.fetch(found, folder)
            self._engine.load(folder)
            self._last_step = self._engine.step_number
            if self._rank == 0:  # of all ranks that wrote it, however many there are now
                parts = [pq.read_table(path) for path in sorted(folder.glob("ledger-*.parquet"))]
                self._ledger = pa.concat_tables(parts)

    def write_ledger(self) -> None:
        """Gather all ranks' ledgers into the run's ledger.parquet."""
        parts = gather(self._merged())
        if self._rank == 0:
            Folder(self._task.run_path).write_parquet(LEDGER, pa.concat_tables(parts))

    def _merged(self) -> pa.Table:
        if self._pending:
            steps, windows = zip(*self._pending, strict=True)
            of_each = np.repeat(np.array(steps, np.int32), [len(each) for each in windows])
            new = pa.table([of_each, np.concatenate(windows)], schema=SCHEMA)
            self._ledger = pa.concat_tables([self._ledger, new]).combine_chunks()
            self._pending = []
        return self._ledger
