"""One rank of the training job: the plan's steps through the engine, and the final model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import torch
import torch.distributed as dist
from safetensors import SafetensorError

from qa_lib import models, windows
from qa_lib.machines import devices
from qa_lib.models.kernels import Kernels, Workload, choose
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import notice, teacher
from qa_lib.training.batch_plan import num_micro_batches
from qa_lib.training.engine import Engine, StepResult
from qa_lib.training.group import agree, gather, prepare_process
from qa_lib.training.held_out import HeldOut
from qa_lib.training.inner import InnerTeacher
from qa_lib.training.loop import Ending, StepBatch, collate, take_steps
from qa_lib.training.rank_checkpoint import RankCheckpoint, find_checkpoint, kernels_of
from qa_lib.training.rank_metrics import RankMetrics
from qa_lib.training.task import TrainTask

MOST_FAILURES = 3
"""Checkpoints in a row that could not be written, after which a run stops."""


def train(task: TrainTask) -> None:
    """Run one rank of the group, inside a worker of Ray Train."""
    import ray
    import ray.train.torch

    settings = task.settings
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    # Ray sets as many threads as CPUs are reserved, but the reservation is for scheduling only: a
    # node's ranks share all of its cores.
    num_threads = max(1, devices.num_local_cpus() // context.get_local_world_size())
    prepare_process(task.device, num_threads)
    notice.heed_metadata()  # each: local ranks go by addresses, which nodes may share
    group = gather(ray.get_runtime_context().get_node_id())
    if rank == 0:
        ray.get(task.monitor.formed.remote(group))
    found = find_checkpoint(task, rank)
    tables = _tables(task, found.step if found else 0, rank, world_size)
    model = models.load(settings.model.name, seed=settings.seed, dropout=settings.train.dropout)
    tokenizer = models.load_tokenizer(settings.model.name)
    pad = windows.PadSpec.of(tokenizer, settings.data.max_length)
    chosen = kernels_of(found, task)
    chosen = agree(chosen or _choose_kernels(task, model.config) if rank == 0 else None)
    chosen.apply(model)
    engine = _engine(task, model, chosen)
    checkpoint = RankCheckpoint(task, engine, rank, chosen)
    checkpoint.restore(found)
    held_out = HeldOut(
        task, engine, pad, lambda weights, to: models.save(model, tokenizer, to, state_dict=weights)
    )
    held_out.restore(found)
    metrics = RankMetrics(task, engine, rank)
    if found is not None and held_out.is_due(found.step):
        _warn_of_best(metrics, found.step, held_out.evaluate(removes=False))
    after_step = partial(_after_step, task, engine, checkpoint, metrics, held_out)
    until = engine.step_number if held_out.is_over else task.last_step
    ending = take_steps(engine, _batches(task, tables, pad, metrics), until, after_step)
    _finish(checkpoint, metrics)
    if ending == "unsaved" and not checkpoint.problem:
        ending = "regrouping"  # the one that was under way is stored: the run goes on from it
    problem = checkpoint.problem if ending == "unsaved" else ""
    if ending in ("done", "stopped"):
        weights = engine.gather_weights()
        is_due = rank == 0 and ending == "done"
        write_last = partial(_write_model, task, model, tokenizer, weights)
        write_model = held_out.write_model if held_out.best else write_last
        problem = _store(checkpoint, write_model if is_due else None)
    going = {node: what for node, what in zip(group, gather(notice.given()), strict=True) if what}
    metrics.conclude(chosen, ending, world_size, problem, going, held_out.facts())
    dist.barrier()


def _engine(task: TrainTask, model: Any, kernels: Kernels) -> Engine:
    import ray.train.torch

    settings, is_gpu = task.settings, task.device == "cuda"
    device = ray.train.torch.get_device() if is_gpu else torch.device("cpu")
    return Engine(
        model,
        settings.train,
        precision=kernels.precision,
        device=device,
        num_steps=task.plan.num_steps,
        micro_batch=task.micro_batch,
        seed=settings.seed,
        new_head=not models.has_answering_head(settings.model.name),
        inner=_inner_teacher(task, kernels, device),
    )


def _choose_kernels(task: TrainTask, config: Any) -> Kernels:
    train = task.settings.train
    workload = Workload(task.micro_batch, int(task.plan.lengths.mean()), trains=True)
    return choose(
        config, workload, device=task.device, precision=train.precision, kernel=train.attention
    )


def _inner_teacher(task: TrainTask, kernels: Kernels, device: torch.device) -> InnerTeacher | None:
    """Load the teacher beside the student, where it teaches inside."""
    settings = task.settings
    if task.match is None or settings.train.teacher is None:
        return None
    model = models.load(settings.train.teacher)
    kernels.apply(model)
    return InnerTeacher(
        model,
        settings.train,
        task.match,
        precision=kernels.precision,
        device=device,
        numbers=teacher.numbers(settings.train.teacher, settings.model.name),
    )


def _after_step(
    task: TrainTask,
    engine: Engine,
    checkpoint: RankCheckpoint,
    metrics: RankMetrics,
    held_out: HeldOut,
    batch: StepBatch,
    result: StepResult,
) -> Ending | None:
    """Record a step, write a checkpoint if one is due, and say whether to go on."""
    import ray.train

    num_steps = batch.step + 1
    checkpoint.note(batch)
    is_last = num_steps == task.last_step
    regroups = result.regroup and not is_last and _may_regroup(checkpoint, num_steps)
    # Who is asked to leave first writes a checkpoint: what it was to evaluate is done by the next.
    # So it is after a skipped one, but for the last, which left the weights as they were.
    waits = result.stop or regroups or (result.skipped and not is_last)
    evaluates = not waits and held_out.is_due(num_steps) and engine.is_finite()
    # An evaluation removes models that only checkpoints before the last one call the best.
    if evaluates or not result.writing:
        _finish(checkpoint, metrics)
    scores: dict[str, Any] = {}
    if evaluates:
        with metrics.pause():
            scores = held_out.evaluate(removes=not checkpoint.problem)
    metrics.note(batch, result, scores)
    engine.wants_regroup = engine.wants_regroup or bool(notice.given())
    if engine.num_skipped_in_a_row >= task.settings.train.max_skipped_steps:
        return "diverged"
    # A state between skipped steps is not worth coming back to: the next good step's is.
    is_due = bool(scores) or (checkpoint.is_due(num_steps) and not result.skipped)
    ends = result.stop or regroups or is_last or held_out.is_over
    if is_due or ends:
        if not engine.is_finite():
            return "diverged"
        metrics.flush()  # so that a checkpoint's steps are in the metrics after any crash
        _finish(checkpoint, metrics)
        with metrics.pause():
            checkpoint.begin(held_out.history)
            _warn_of_best(metrics, num_steps, scores)
            ray.train.report({"step": num_steps, "loss": result.loss})
        if ends:
            _finish(checkpoint, metrics)
    return _ending(checkpoint, result, is_over=held_out.is_over, regroups=regroups, is_last=is_last)


def _may_regroup(checkpoint: RankCheckpoint, num_steps: int) -> bool:
    """Whether a wish to regroup may be tried: the last failure is that of a due checkpoint."""
    return checkpoint.num_failures < MOST_FAILURES - 1 or checkpoint.is_due(num_steps)


def _ending(
    checkpoint: RankCheckpoint, result: StepResult, *, is_over: bool, regroups: bool, is_last: bool
) -> Ending | None:
    """Say how a step ends the run, if it does."""
    if result.stop:
        return "stopped"
    if is_over:
        return "done"
    if regroups and not checkpoint.problem:
        return "regrouping"
    # After the last step the model may yet be written, which takes less room.
    return "unsaved" if checkpoint.num_failures >= MOST_FAILURES and not is_last else None


def _warn_of_best(metrics: RankMetrics, step: int, scores: dict[str, Any]) -> None:
    """Say what prevented keeping the model of an evaluation, if anything did."""
    if scores.get("problem"):
        metrics.warn(f"step {step} was not kept as the best: {scores['problem']}")


def _finish(checkpoint: RankCheckpoint, metrics: RankMetrics) -> None:
    """Finish the checkpoint that was begun, if one was; a warning says what prevented it."""
    step = checkpoint.begun_step
    if step is not None:
        with metrics.pause():
            checkpoint.finish()
        if checkpoint.problem:
            metrics.warn(f"no checkpoint at step {step}: {checkpoint.problem}")


def _tables(
    task: TrainTask, first_step: int, rank: int, world_size: int
) -> Iterator[tuple[int, list[pa.Table]]]:
    """Group this rank's micro-batches by optimizer step; Ray Data starts on the first at once."""
    batches = task.data.of_rank(task.plan, first_step, rank, world_size, task.micro_batch)
    num_micro = num_micro_batches(task.plan.global_batch, world_size, task.micro_batch)

    def grouped() -> Iterator[tuple[int, list[pa.Table]]]:
        while tables := list(islice(batches, num_micro)):
            steps = {table["step"][row].as_py() for table in tables for row in (0, -1)}
            assert len(steps) == 1 and len(tables) == num_micro, "a step's windows came apart"
            yield steps.pop(), tables

    return grouped()


def _batches(
    task: TrainTask,
    tables_of_steps: Iterator[tuple[int, list[pa.Table]]],
    pad: windows.PadSpec,
    metrics: RankMetrics,
) -> Iterator[StepBatch]:
    for step, tables in tables_of_steps:
        metrics.start()
        yield collate(step, tables, len(task.plan.batch(step)), pad)


def _write_model(task: TrainTask, model: Any, tokenizer: Any, weights: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="qa-model-") as folder:
        models.save(model, tokenizer, folder, state_dict=weights)
        RunFolder(task.run_path, "train").put_folder(folder, "model")


def _store(checkpoint: RankCheckpoint, write_model: Callable[[], None] | None) -> str:
    """Write the ledger and the model; return what prevents it, or "".

    That is no failure of a worker: the driver reports it, and no step is taken again.
    """
    try:
        checkpoint.write_ledger()
        if write_model is not None:
            write_model()
    except (OSError, SafetensorError) as error:
        return storage.first_line(error)
    return ""
