"""What every worker runs: the plan's steps through the engine, checkpoints, and the final model."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any
from warnings import filterwarnings

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from qa_lib import models, windows
from qa_lib.config import Settings
from qa_lib.errors import TrainError
from qa_lib.machines import devices
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import teacher
from qa_lib.training.engine import Engine, learning_rate
from qa_lib.training.losses import Batch, distilled_losses, window_losses
from qa_lib.training.rank_checkpoint import Keeper, agree, column
from qa_lib.training.task import Ending, TrainTask

_REPORT_EVERY_S = 1.0


def train(task: TrainTask) -> None:
    """Run one rank of the group, inside a worker of Ray Train."""
    import ray.train

    settings, plan = task.settings, task.plan
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = _prepare_process(task.device, context.get_local_world_size())
    steps = _steps(task, world_size)
    torch.manual_seed(settings.seed * 65_536 + rank)  # dropout differs between ranks
    precision = agree(devices.resolve_precision(settings.train.precision, task.device))
    model = models.load(settings.model.name, seed=settings.seed, dropout=settings.train.dropout)
    tokenizer = models.load_tokenizer(settings.model.name)
    pad = windows.PadSpec.of(tokenizer, settings.data.max_length)
    engine = Engine(
        model,
        settings.train,
        precision=precision,
        device=device,
        num_steps=plan.num_steps,
        micro_batch=task.micro_batch,
        losses=losses_of(settings),
    )
    keeper = Keeper(task, engine, rank)
    keeper.restore()
    reporter = _Reporter(task, rank, world_size)
    ending = _take_steps(task, engine, keeper, reporter, pad, steps)
    if ending != "diverged":
        weights = engine.gather_weights()
        with _writing(task):
            keeper.write_ledger()
            if rank == 0 and ending == "done":
                _write_model(task, model, tokenizer, weights)
    if rank == 0:
        reporter.conclude(engine, precision, ending)
    dist.barrier()


def _take_steps(
    task: TrainTask,
    engine: Engine,
    keeper: Keeper,
    reporter: _Reporter,
    pad: windows.PadSpec,
    steps: Iterator[tuple[int, list[pa.Table]]],
) -> Ending:
    """Take the plan's steps from where the engine stands, and say how they ended."""
    import ray.train

    settings = task.settings.train
    every = settings.checkpoint_every_steps or task.plan.steps_per_epoch
    num_skipped = 0  # in a row
    for step, rows in islice(steps, task.last_step - engine.step_number):
        assert step == engine.step_number, f"data at step {step}, engine at {engine.step_number}"
        reporter.start()
        micro_batches = [weighted_batch(part, pad) for part in rows]
        batch = task.plan.batch(step)
        result = engine.step(micro_batches, num_real=len(batch), stop=reporter.stop_wanted)
        keeper.note(step, rows)
        reporter.step(step, result, batch, engine)
        num_skipped = num_skipped + 1 if result.skipped else 0
        if num_skipped >= settings.max_skipped_steps:
            return "diverged"
        # Amid skipped steps there is no good place to come back to.
        due = (step + 1) % every == 0 and not result.skipped
        if due or result.stop or (step + 1) == task.last_step:
            if not engine.is_finite():
                return "diverged"
            reporter.flush()  # no step of a checkpoint is missing in the metrics, whatever dies
            keeper.save()
            ray.train.report({"step": step + 1, "loss": result.loss})
        if result.stop:
            return "stopped"
    return "done"


def losses_of(settings: Settings) -> Any:
    """Return the loss of a window: against its label, and the teacher where there is one."""
    train = settings.train
    if not train.teacher:
        return window_losses
    return partial(distilled_losses, weight=train.distill_weight, temperature=train.temperature)


def _steps(task: TrainTask, world_size: int) -> Iterator[tuple[int, list[pa.Table]]]:
    """Group this rank's micro-batches into optimizer steps; the first are on their way at once."""
    import ray.train

    shard = ray.train.get_dataset_shard("windows")
    batches = _ahead(
        iter(
            shard.iter_batches(
                batch_size=task.micro_batch, batch_format="pyarrow", prefetch_batches=4
            )
        )
    )
    num_micro = task.plan.global_batch // (world_size * task.micro_batch)

    def grouped() -> Iterator[tuple[int, list[pa.Table]]]:
        while rows := list(islice(batches, num_micro)):
            steps = {part["step"][row].as_py() for part in rows for row in (0, -1)}
            assert len(steps) == 1 and len(rows) == num_micro, "a step's windows came apart"
            yield steps.pop(), rows

    return grouped()


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Fetch the first item in a thread, now: Ray Data starts while this rank loads its model."""
    thread = ThreadPoolExecutor(1)
    first = thread.submit(list, islice(items, 1))
    thread.shutdown(wait=False)

    def fetched() -> Iterator[Any]:
        yield from first.result()
        yield from items

    return fetched()


def weighted_batch(part: pa.Table, pad: windows.PadSpec) -> tuple[Batch, torch.Tensor]:
    """Pad one micro-batch, the teacher's logits with it, and give it its weights.

    Args:
        part: Windows with a column `weight`, 1 where trained and 0 where they only fill.
        pad: The tokenizer's padding.

    Returns:
        What `Engine.step` takes: the batch, and (windows,) float32 weights.
    """
    batch = windows.collate(part, pad)
    batch |= teacher.collate(part, pad, batch["input_ids"].shape[1])
    return batch, torch.from_numpy(column(part, "weight", np.float32))


def _prepare_process(device: str, local_world_size: int) -> Any:
    """Set the process up for one rank of this node, and return its torch device."""
    os.environ["DS_ACCELERATOR"] = device
    # DeepSpeed calls collectives that torch renames: a line for each parameter and step.
    filterwarnings("ignore", "`torch.distributed.* is deprecated", FutureWarning)
    if device == "cuda":
        import ray.train.torch

        return ray.train.torch.get_device()
    # Ray sets one thread per reserved CPU, but the reservation is for scheduling: the ranks of a
    # node share all of its cores.
    devices.set_up_cpu(max(1, devices.num_local_cpus() // local_world_size))
    return torch.device("cpu")


class _Reporter:
    """Rank 0's metrics, and its line to the monitor: often, however fast the steps are."""

    def __init__(self, task: TrainTask, rank: int, world_size: int) -> None:
        self._task, self._is_main, self._world_size = task, rank == 0, world_size
        self._run = RunFolder(task.run_path, "train")
        self._rows: list[dict[str, Any]] = []
        # What a run has told of before, it does again after a failure.
        told = self._run.read_metrics() if self._is_main else []
        self._num_told = max((row["step"] for row in told if "step" in row), default=0)
        self._started = self._sent = time.monotonic()
        self._is_started = False
        self._num_windows = 0
        self._num_tokens = 0
        self.stop_wanted = False

    def start(self) -> None:
        """Start the clock when the first windows are there: speeds are those of training alone."""
        if not self._is_started:
            self._started, self._is_started = time.monotonic(), True

    def step(self, step: int, result: Any, batch: np.ndarray, engine: Engine) -> None:
        if not self._is_main:
            return

        now = time.monotonic()
        self._num_windows += len(batch)
        self._num_tokens += int(self._task.plan.lengths[batch].sum())
        train = self._task.settings.train
        self._rows.append(
            {
                "step": step + 1,
                "epoch": round((step + 1) / self._task.plan.steps_per_epoch, 4),
                "loss": round(result.loss, 6),
                "lr": learning_rate(train, step, engine.num_steps),
                "num_windows": len(batch),
                "skipped": result.skipped,
                "redone": step < self._num_told,
                "windows_per_s": round(self._num_windows / (now - self._started), 2),
                "time": round(time.time(), 3),
            }
        )
        if now - self._sent >= _REPORT_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write the steps since the last time, and show them to the driver."""
        if not self._is_main:
            return
        import ray

        with suppress(OSError):  # a full disk stops no training
            for row in self._rows:
                self._run.append_metrics(row)
            self._run.flush_metrics()
        self.stop_wanted = ray.get(self._task.monitor.record.remote(self._rows))
        self._rows, self._sent = [], time.monotonic()

    def conclude(self, engine: Engine, precision: str, ending: Ending) -> None:
        import ray

        seconds = time.monotonic() - self._started
        self.flush()
        facts = {
            "steps": engine.step_number,
            "ending": ending,
            "num_skipped_steps": engine.num_skipped,
            "train_loop_seconds": round(seconds, 2),
            "windows_per_s": round(self._num_windows / seconds, 2),
            "tokens_per_s": round(self._num_tokens / seconds, 1),
            "num_parameters": models.num_parameters(engine.model),
            "world_size": self._world_size,
            "zero_stage": engine.zero_stage,
            "precision": precision,
            "device": str(engine.device),
            "state_bytes_per_rank": engine.num_state_bytes(),
            "peak_memory_bytes": devices.peak_memory_bytes(str(engine.device)),
        }
        ray.get(self._task.monitor.conclude.remote(facts))


def _write_model(task: TrainTask, model: Any, tokenizer: Any, weights: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="qa-model-") as folder:
        models.save(model, tokenizer, folder, state_dict=weights)
        RunFolder(task.run_path, "train").put_folder(folder, "model")


@contextmanager
def _writing(task: TrainTask) -> Iterator[None]:
    """Turn what the storage raises at the end into what the user can do about it."""
    try:
        yield
    except OSError as error:
        raise TrainError(
            f"The result cannot be written to {task.run_path}: {storage.first_line(error)}",
            "Make room there; the same command with --resume goes on from the last checkpoint.",
        ) from None
