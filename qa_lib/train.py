"""Fine-tuning: a batch plan, delivered by Ray Data, trained by DeepSpeed inside Ray Train workers.

`fine_tune` is the driver's side, `_train` what every worker runs. They share a plan, so the driver
can check afterwards, from what the workers recorded, that every window was trained exactly once.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib import model as models
from qa_lib import resources, squad, stream, teach, windows
from qa_lib.checkpoint import CheckpointStore
from qa_lib.config import Settings
from qa_lib.engine import Engine, learning_rate, memory_per_rank
from qa_lib.errors import CheckpointError, ConfigError
from qa_lib.losses import Batch, distilled_losses, window_losses
from qa_lib.plan import BatchPlan, fitting_micro_batch
from qa_lib.progress import Progress
from qa_lib.run import RunFolder

if TYPE_CHECKING:
    import ray
    import torch

    from qa_lib.squad import Questions

_POLL_S = 0.25
_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class TrainTask:
    """Everything that a worker needs to know; the windows come through Ray Data.

    Attributes:
        settings: The resolved settings.
        run_path: The run folder, path or URL.
        plan: Which windows make up which step.
        micro_batch: Rows per micro-step of a rank.
        device: cpu or cuda.
        monitor: The actor that hears of every step.
    """

    settings: Settings
    run_path: str
    plan: BatchPlan
    micro_batch: int
    device: str
    monitor: Any


def fine_tune(settings: Settings, run: RunFolder, questions: Questions) -> dict[str, Any]:
    """Train a model on all windows of the questions and write it to the run's `model/`.

    Args:
        settings: What to train, and how.
        run: Receives checkpoints, metrics.jsonl, ledger.parquet and model/. A run that holds a
            good checkpoint is continued from there.
        questions: To train on.

    Returns:
        Fields for result.json: counts, steps, losses, speed, world size and ZeRO stage.

    Raises:
        ResourceError: The machine or cluster cannot hold the workers.
        DataError: No question fits a window.
    """
    import ray

    _check(settings)
    resources.start_ray()
    allocation = resources.allocate(settings.train)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    window_set = stream.tokenize(questions.table, settings.model.name, spec, offsets=False)
    plan = plan_of(settings, window_set.lengths)
    _check_resumable(settings, run, plan)
    taught: dict[str, Any] = {}
    if settings.train.teacher:
        window_set, taught = teach.attach(settings, window_set)
    monitor = ray.remote(num_cpus=0)(Monitor).remote()
    task = TrainTask(
        settings=settings,
        run_path=run.path,
        plan=plan,
        micro_batch=_micro_batch(settings),
        device=allocation.device,
        monitor=monitor,
    )
    started = time.monotonic()
    _watch(_trainer(task, window_set, allocation), monitor, plan, run)
    facts = ray.get(monitor.facts.remote())
    if facts["stopped"]:
        print(
            f"stopped after step {facts['steps']} of {plan.num_steps}; go on with\n"
            f"  python -m jobs.train --recipe {run.url('config.yaml')} --storage "
            f"{settings.storage} --run-name {run.name} --resume",
            file=sys.stderr,
        )
        raise KeyboardInterrupt
    check_ledger(_read_ledger(run), plan, facts["steps"])
    return {
        "num_train_questions": questions.table.num_rows - len(window_set.too_long),
        "num_train_windows": plan.num_windows,
        "num_too_long": len(window_set.too_long),
        "num_quarantined": questions.num_quarantined,
        "train_fingerprint": questions.fingerprint,
        "holdout_titles": _holdout_titles(settings),
        "train_seconds": round(time.monotonic() - started, 2),
        **taught,
        **facts,
    }


def describe(settings: Settings, questions: Questions) -> dict[str, Any]:
    """Return what `fine_tune` would do, without Ray: counts, steps, bytes per rank, seconds.

    The seconds are arithmetic: floating-point operations over the speed of a matrix product
    measured here (CPU) or the GPU's published peak, at a usual utilisation.
    """
    _check(settings)
    train = settings.train
    allocation = resources.allocate(train)
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    cut = windows.build(questions.table, tokenizer, spec, characters=False)
    plan = plan_of(settings, windows.lengths(cut.table))
    model = models.load_empty(settings.model.name)
    precision = resources.resolve_precision(train.precision, allocation.device)
    num_tokens = sum(int(plan.lengths[plan.batch(step)].sum()) for step in range(plan.num_steps))
    flops = 6 * models.num_matrix_parameters(model) * num_tokens
    speed = resources.flops_per_second(allocation.device, precision) * (
        train.num_workers if allocation.device == "cuda" else 1
    )
    return {
        "num_train_questions": questions.table.num_rows - len(cut.too_long),
        "num_train_windows": plan.num_windows,
        "num_too_long": len(cut.too_long),
        "mean_window_tokens": round(float(plan.lengths.mean()), 1),
        "steps": plan.num_steps,
        "num_parameters": models.num_parameters(model),
        "world_size": train.num_workers,
        "micro_batch": _micro_batch(settings),
        "precision": precision,
        "device": allocation.device,
        "cpus_per_worker": allocation.cpus_per_worker,
        "state_bytes_per_rank": memory_per_rank(
            models.num_parameters(model), train, precision, train.num_workers
        ),
        "estimated_train_seconds": round(flops / speed),
    }


def plan_of(settings: Settings, lengths: np.ndarray) -> BatchPlan:
    """Return the batch plan of a run for windows of these lengths."""
    train = settings.train
    return BatchPlan(
        lengths=lengths,
        global_batch=train.global_batch,
        num_epochs=train.epochs,
        seed=settings.seed,
        bucket_batches=train.bucket_batches,
        max_steps=train.max_steps,
    )


def check_ledger(ledger: pa.Table, plan: BatchPlan, num_steps: int) -> None:
    """Assert that the history of the final weights holds every planned window exactly once.

    Args:
        ledger: Columns `step` and `window_index`, a row per window trained.
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


class Monitor:
    """An actor between workers and driver: steps flow one way, the wish to stop the other."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._rows: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._stop = False

    def record(self, rows: list[dict[str, Any]]) -> bool:
        """Take finished steps from rank 0; answer whether the run should stop."""
        self._rows += rows
        return self._stop

    def conclude(self, facts: dict[str, Any]) -> None:
        """Take what rank 0 knows at the end."""
        self._facts = facts

    def request_stop(self) -> None:
        """Ask the workers to checkpoint and stop after the current step."""
        self._stop = True

    def drain(self) -> list[dict[str, Any]]:
        """Hand over the steps heard since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def facts(self) -> dict[str, Any]:
        """Return what rank 0 concluded; empty while it trains."""
        return self._facts


# --- the driver ----------------------------------------------------------------------------------


def _check(settings: Settings) -> None:
    """Refuse, before Ray starts, what this machine or model cannot do."""
    resources.allocate(settings.train)
    longest = models.maximum_length(models.load_config(settings.model.name))
    if longest is not None and settings.data.max_length > longest:
        raise ConfigError(
            f"--data.max-length {settings.data.max_length} exceeds the {longest} positions of "
            f"{settings.model.name}.",
            f"Use --data.max-length {longest} or less.",
        )
    if not os.environ.get("RAY_ADDRESS"):
        num_parameters = models.num_parameters(models.load_empty(settings.model.name))
        states = memory_per_rank(
            num_parameters, settings.train, settings.train.precision, settings.train.num_workers
        )
        resources.check_memory(settings.train.num_workers, sum(states.values()))


def _check_resumable(settings: Settings, run: RunFolder, plan: BatchPlan) -> None:
    found = CheckpointStore(_checkpoints(run.path)).newest_good()
    if found is None:
        return
    train = settings.train
    for name, saved, asked in (
        ("--train.num-workers", found.meta["world_size"], train.num_workers),
        ("--train.zero-stage", found.meta["zero_stage"], train.zero_stage),
    ):
        if saved != asked:
            raise CheckpointError(
                f"{found.directory} was written with {name} {saved}, not {asked}.",
                f"Resume with {name} {saved}.",
            )
    if found.meta["plan"] != plan.fingerprint:
        raise CheckpointError(
            f"{found.directory} belongs to other data, seed, batch size or number of steps.",
            f"Resume with the settings in {run.url('config.yaml')}, or start a new run.",
        )


def _holdout_titles(settings: Settings) -> list[str]:
    """Record the articles set aside: a search must score on what its parent never saw."""
    if not settings.data.holdout_articles:
        return []
    return list(squad.load(settings.data, "holdout").titles)


def _micro_batch(settings: Settings) -> int:
    train = settings.train
    wish = 16 if train.micro_batch == "auto" else train.micro_batch
    return fitting_micro_batch(wish, train.global_batch, train.num_workers)


def _trainer(
    task: TrainTask, window_set: stream.WindowSet, allocation: resources.Allocation
) -> ray.train.torch.TorchTrainer:
    import ray.data
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    use_gpu = allocation.device == "cuda"
    data = stream.PlannedData(
        plan=task.plan,
        window_set=window_set,
        micro_batch=task.micro_batch,
        checkpoints=_checkpoints(task.run_path),
    )
    return TorchTrainer(
        _train,
        train_loop_config={"task": task},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=allocation.num_workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": allocation.cpus_per_worker}
            | ({"GPU": 1} if use_gpu else {}),
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=task.run_path,
            failure_config=FailureConfig(max_failures=task.settings.train.max_failures),
        ),
        # Only a name: PlannedData gives every rank a dataset of its own.
        datasets={"windows": ray.data.range(1)},
        dataset_config=data,
    )


def _watch(trainer: Any, monitor: Any, plan: BatchPlan, run: RunFolder) -> None:
    """Run the trainer in a thread, and show and record what the monitor hears meanwhile."""
    import ray

    failure: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    seen = max((row["step"] for row in run.read_metrics() if "step" in row), default=0)
    with Progress(plan.num_steps, "steps", "training") as progress, _stop_signals(monitor):
        while True:
            alive = thread.is_alive()
            for row in ray.get(monitor.drain.remote()):
                run.append_metrics(row | {"redone": row["step"] <= seen})
                seen = max(seen, row["step"])
                progress.update(
                    row["step"], loss=row["loss"], windows_per_s=row["windows_per_s"], lr=row["lr"]
                )
            if not alive:
                break
            thread.join(_POLL_S)
    if failure:
        raise failure[0]


@contextmanager
def _stop_signals(monitor: Any) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a checkpoint; a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _: Any) -> None:
        print("stopping after this step, with a checkpoint ...", file=sys.stderr)
        monitor.request_stop.remote()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read_ledger(run: RunFolder) -> pa.Table:
    with run.filesystem.open_input_file(f"{run.root}/ledger.parquet") as file:
        return pq.read_table(file)


def _checkpoints(run_path: str) -> str:
    return f"{run_path}/checkpoints"


# --- every worker --------------------------------------------------------------------------------


def _train(config: dict[str, Any]) -> None:
    import ray.train
    import torch
    import torch.distributed as dist

    task: TrainTask = config["task"]
    settings, plan = task.settings, task.plan
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = _prepare_process(task.device, context.get_local_world_size())
    torch.manual_seed(settings.seed * 65_536 + rank)  # dropout differs between ranks
    precision = _agree(resources.resolve_precision(settings.train.precision, task.device))
    model = models.load(settings.model.name, seed=settings.seed, dropout=settings.train.dropout)
    tokenizer = models.load_tokenizer(settings.model.name)
    pad = windows.PadSpec.of(tokenizer)
    engine = Engine(
        model,
        settings.train,
        precision=precision,
        device=device,
        num_steps=plan.num_steps,
        micro_batch=task.micro_batch,
        losses=_losses(settings),
    )
    keeper = _Keeper(task, engine, rank)
    keeper.restore()
    per_epoch = plan.steps_per_epoch
    every = settings.train.checkpoint_every_steps or per_epoch
    reporter = _Reporter(task, rank, world_size)
    stopped = False
    for step, rows in _steps(task, world_size):
        assert step == engine.step_number, f"data at step {step}, engine at {engine.step_number}"
        micro_batches = [_micro(part, pad) for part in rows]
        batch = plan.batch(step)
        result = engine.step(micro_batches, num_real=len(batch), stop=reporter.stop_wanted)
        keeper.note(step, rows)
        reporter.step(step, result, batch, engine)
        stopped = result.stop
        if stopped or (step + 1) % every == 0 or (step + 1) == plan.num_steps:
            keeper.save()
            ray.train.report({"step": step + 1, "loss": result.loss})
        if stopped:
            break
    keeper.write_ledger()
    weights = engine.gather_weights()
    if rank == 0:
        if not stopped:
            _write_model(task, model, tokenizer, weights)
        reporter.conclude(engine, precision, stopped)
    dist.barrier()


def _losses(settings: Settings) -> Any:
    train = settings.train
    if not train.teacher:
        return window_losses
    return partial(distilled_losses, weight=train.distill_weight, temperature=train.temperature)


def _steps(task: TrainTask, world_size: int) -> Iterator[tuple[int, list[pa.Table]]]:
    """Group this rank's micro-batches into optimizer steps."""
    import ray.train

    shard = ray.train.get_dataset_shard("windows")
    batches = iter(
        shard.iter_batches(batch_size=task.micro_batch, batch_format="pyarrow", prefetch_batches=4)
    )
    num_micro = task.plan.global_batch // (world_size * task.micro_batch)
    while rows := list(islice(batches, num_micro)):
        steps = {
            step for part in rows for step in (part["step"][0].as_py(), part["step"][-1].as_py())
        }
        assert len(steps) == 1 and len(rows) == num_micro, "a step's windows came apart"
        yield steps.pop(), rows


def _micro(part: pa.Table, pad: windows.PadSpec) -> tuple[Batch, torch.Tensor]:
    """Pad one micro-batch, the teacher's logits with it, and give it its weights."""
    import torch

    batch = windows.collate(part, pad)
    batch |= teach.collate(part, pad, batch["input_ids"].shape[1])
    return batch, torch.from_numpy(_column(part, "weight", np.float32))


def _prepare_process(device: str, local_world_size: int) -> Any:
    """Set the process up for one rank of this node, and return its torch device."""
    import torch

    os.environ["DS_ACCELERATOR"] = device
    if device == "cuda":
        import ray.train.torch

        return ray.train.torch.get_device()
    # Ray sets one thread per reserved CPU, but the reservation is for scheduling: the ranks of a
    # node share all of its cores.
    torch.set_num_threads(max(1, resources.num_local_cpus() // local_world_size))
    return torch.device("cpu")


def _agree(value: Any) -> Any:
    """Return rank 0's value on every rank."""
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _column(table: pa.Table, name: str, dtype: Any) -> np.ndarray:
    return table[name].to_numpy().astype(dtype)


class _Keeper:
    """One rank's checkpoints, and the ledger that travels inside them."""

    def __init__(self, task: TrainTask, engine: Engine, rank: int) -> None:
        self._store = CheckpointStore(_checkpoints(task.run_path))
        self._task, self._engine, self._rank = task, engine, rank
        self._ledger = _LEDGER.empty_table()
        self._pending: list[pa.Table] = []

    def note(self, step: int, rows: list[pa.Table]) -> None:
        """Record this rank's windows as trained; called only after the optimizer step."""
        for part in rows:
            indices = _column(part, "window_index", np.int32)[_column(part, "weight", bool)]
            steps = np.full(len(indices), step, np.int32)
            self._pending.append(pa.table([steps, indices], schema=_LEDGER))

    def save(self) -> None:
        import torch.distributed as dist

        def gather(value: Any) -> list[Any]:
            values: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(values, value)
            return values

        with tempfile.TemporaryDirectory(prefix="qa-checkpoint-") as folder:
            self._engine.save(Path(folder))
            pq.write_table(self._merged(), Path(folder) / f"ledger-{self._rank:05d}.parquet")
            meta = {
                "world_size": dist.get_world_size(),
                "zero_stage": self._engine.zero_stage,
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
        found = _agree(self._store.newest_good() if self._rank == 0 else None)
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
        import torch.distributed as dist

        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, self._merged())
        if self._rank == 0:
            path = f"{self._store.root.rsplit('/', 1)[0]}/ledger.parquet"
            with self._store.filesystem.open_output_stream(path) as file:
                pq.write_table(pa.concat_tables(parts), file)

    def _merged(self) -> pa.Table:
        self._ledger = pa.concat_tables([self._ledger, *self._pending]).combine_chunks()
        self._pending = []
        return self._ledger


_LEDGER = pa.schema([("step", pa.int32()), ("window_index", pa.int32())])


class _Reporter:
    """Rank 0's line to the monitor: a few calls a second, however fast the steps are."""

    def __init__(self, task: TrainTask, rank: int, world_size: int) -> None:
        self._task, self._is_main, self._world_size = task, rank == 0, world_size
        self._rows: list[dict[str, Any]] = []
        self._reply: Any = None
        self._started = self._sent = time.monotonic()
        self._num_windows = 0
        self._num_tokens = 0
        self._first_step: float | None = None
        self.stop_wanted = False

    def step(self, step: int, result: Any, batch: np.ndarray, engine: Engine) -> None:
        if not self._is_main:
            return
        import ray

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
                "windows_per_s": round(self._num_windows / (now - self._started), 2),
                "time": round(time.time(), 3),
            }
        )
        if now - self._sent >= _REPORT_EVERY_S:
            if self._reply is not None:
                self.stop_wanted = ray.get(self._reply)
            self._reply = self._task.monitor.record.remote(self._rows)
            self._rows, self._sent = [], now

    def conclude(self, engine: Engine, precision: str, stopped: bool) -> None:
        import ray

        seconds = time.monotonic() - self._started
        ray.get(self._task.monitor.record.remote(self._rows))
        facts = {
            "steps": engine.step_number,
            "stopped": stopped,
            "num_skipped_steps": engine.num_skipped,
            "num_window_passes": self._num_windows,
            "train_loop_seconds": round(seconds, 2),
            "windows_per_s": round(self._num_windows / seconds, 2),
            "tokens_per_s": round(self._num_tokens / seconds, 1),
            "num_parameters": models.num_parameters(engine.model),
            "world_size": self._world_size,
            "zero_stage": engine.zero_stage,
            "precision": precision,
            "device": str(engine.device),
            "state_bytes_per_rank": engine.num_state_bytes(),
        }
        ray.get(self._task.monitor.conclude.remote(facts))


def _write_model(task: TrainTask, model: Any, tokenizer: Any, weights: dict[str, Any]) -> None:
    from pyarrow import fs

    with tempfile.TemporaryDirectory(prefix="qa-model-") as folder:
        models.save(model, tokenizer, folder, state_dict=weights)
        store = CheckpointStore(task.run_path)
        store.filesystem.create_dir(f"{store.root}/model")
        fs.copy_files(folder, f"{store.root}/model", fs.LocalFileSystem(), store.filesystem)
