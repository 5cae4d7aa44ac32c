"""The driver's side of training: what can be placed, the trainer, and watching it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qa_lib import models, windows
from qa_lib.config import Settings
from qa_lib.data import load_questions
from qa_lib.errors import CheckpointError, TrainError
from qa_lib.machines import devices, memory
from qa_lib.machines.allocation import Allocation, allocate, growth
from qa_lib.machines.memory import memory_per_rank
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.progress import Progress
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import dataset, teacher
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.entry import run_rank
from qa_lib.training.ledger import check_ledger, read_ledger
from qa_lib.training.micro_batch import activation_bytes, micro_batch_of
from qa_lib.training.task import Monitor, TrainTask, checkpoints_of, identity_of, plan_of

if TYPE_CHECKING:
    import ray

    from qa_lib.data import Questions

_POLL_S = 0.5


def fine_tune(
    settings: Settings, run: RunFolder, questions: Questions, *, last_step: int | None = None
) -> dict[str, Any]:
    """Train a model on all windows of the questions and write it to the run's `model/`.

    Args:
        settings: What to train, and how.
        run: Receives checkpoints, metrics.jsonl, ledger.parquet and model/. A run that holds a
            good checkpoint is continued from there.
        questions: To train on.
        last_step: Write the model after so many optimizer steps of the whole plan, and leave the
            rest, which a later call goes on with; None takes them all.

    Returns:
        Fields for result.json: counts, steps, losses, speed, world size and ZeRO stage.

    Raises:
        ResourceError: The machine or cluster cannot hold the workers.
        DataError: No question fits a window.
    """
    import ray

    _check(settings)
    start_ray()
    allocation = allocate(settings.train, growth(settings))
    monitor: Any = ray.remote(num_cpus=0)(Monitor).remote()  # starts while the windows are cut
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    window_set = dataset.tokenize(questions.table, settings.model.name, spec, offsets=False)
    plan = plan_of(settings, window_set.lengths)
    _check_resumable(settings, run, plan)
    taught: dict[str, Any] = {}
    if settings.train.teacher:
        window_set, taught = teacher.attach(settings, window_set)
    task = TrainTask(
        settings=settings,
        run_path=run.path,
        plan=plan,
        micro_batch=micro_batch_of(settings, allocation, int(plan.lengths.max())),
        device=allocation.device,
        monitor=monitor,
        last_step=min(last_step or plan.num_steps, plan.num_steps),
    )
    started = time.monotonic()
    facts = _train(task, window_set, allocation)
    if facts["ending"] == "stopped":
        print(
            f"stopped after step {facts['steps']} of {plan.num_steps}; go on with\n"
            f"  python -m jobs.train --recipe {run.url('config.yaml')} --storage "
            f"{settings.storage} --run-name {run.name} --resume",
            file=sys.stderr,
        )
        raise KeyboardInterrupt
    ledger = read_ledger(run)
    check_ledger(ledger, plan, facts["steps"])
    return {
        "num_train_questions": questions.table.num_rows - len(window_set.too_long),
        "num_train_windows": plan.num_windows,
        "num_window_passes": ledger.num_rows,
        "num_too_long": len(window_set.too_long),
        "num_quarantined": questions.num_quarantined,
        "train_fingerprint": questions.fingerprint,
        "holdout_titles": _holdout_titles(settings),
        "train_seconds": round(time.monotonic() - started, 2),
        "micro_batch": task.micro_batch,
        **taught,
        **facts,
    }


def _train(
    task: TrainTask, window_set: dataset.WindowSet, allocation: Allocation
) -> dict[str, Any]:
    """Run the workers; where they diverge, once more from the last good checkpoint.

    Returns:
        What rank 0 concluded, and `num_rollbacks`.

    Raises:
        TrainError: They diverged again.
    """
    import ray

    for num_rollbacks in (0, 1):
        _watch(_trainer(task, window_set, allocation), task.monitor, task.last_step)
        facts: dict[str, Any] = ray.get(task.monitor.facts.remote())
        if facts["ending"] != "diverged":
            return facts | {"num_rollbacks": num_rollbacks}
        if not num_rollbacks:
            print(
                f"diverged at step {facts['steps']}: going back to the last good checkpoint",
                file=sys.stderr,
            )
    train = task.settings.train
    raise TrainError(
        f"Training diverged twice, at last at step {facts['steps']}: no finite loss and gradient "
        f"in {train.max_skipped_steps} steps in a row, or weights that are not finite. The last "
        "good checkpoint stays.",
        f"Start a new run with a --train.learning-rate below {train.learning_rate:g} or "
        f"--train.precision fp32 (it was {facts['precision']}); metrics.jsonl marks the steps that "
        "were skipped.",
    )


def describe(settings: Settings, questions: Questions) -> dict[str, Any]:
    """Return what `fine_tune` would do, without Ray: counts, steps, bytes per rank, seconds.

    The seconds are arithmetic: floating-point operations over the speed of a matrix product
    measured here (CPU) or the GPU's published peak, at a usual utilisation.
    """
    _check(settings)
    train = settings.train
    allocation = allocate(train, growth(settings))
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    cut = windows.build(questions.table, tokenizer, spec, characters=False)
    plan = plan_of(settings, windows.lengths(cut.table))
    model = models.load_empty(settings.model.name)
    gpu = settings.cluster.gpu
    precision = devices.resolve_precision(train.precision, allocation.device, gpu)
    num_tokens = sum(int(plan.lengths[plan.batch(step)].sum()) for step in range(plan.num_steps))
    flops = 6 * models.num_matrix_parameters(model) * num_tokens
    speed = devices.flops_per_second(allocation.device, precision, gpu) * (
        train.num_workers if allocation.device == "cuda" else 1
    )
    longest = int(plan.lengths.max())
    is_tried = train.micro_batch == "auto" and allocation.device == "cuda"
    micro_batch = None if is_tried else micro_batch_of(settings, allocation, longest)
    each = activation_bytes(model.config, longest, checkpointing=train.gradient_checkpointing)
    return {
        "num_train_questions": questions.table.num_rows - len(cut.too_long),
        "num_train_windows": plan.num_windows,
        "num_too_long": len(cut.too_long),
        "mean_window_tokens": round(float(plan.lengths.mean()), 1),
        "steps": plan.num_steps,
        "num_parameters": models.num_parameters(model),
        "world_size": train.num_workers,
        "micro_batch": micro_batch or "tried on the GPU at the start",
        "precision": precision,
        "device": allocation.device,
        "cpus_per_worker": allocation.cpus_per_worker,
        "state_bytes_per_rank": memory_per_rank(
            models.num_parameters(model), train, precision, train.num_workers
        ),
        "activation_bytes_per_window": each // (1 if precision == "fp32" else 2),
        "estimated_train_seconds": round(flops / speed),
    }


def _check(settings: Settings) -> None:
    """Refuse, before Ray starts, what this machine or model cannot do."""
    allocate(settings.train, growth(settings))
    models.check_length(settings.model.name, settings.data.max_length)
    train, gpu = settings.train, growth(settings).gpu
    num_parameters = models.num_stored_parameters(settings.model.name)
    if gpu != "none" and train.device != "cpu":
        precision = devices.resolve_precision(train.precision, "cuda", gpu)
        states = memory_per_rank(num_parameters, train, precision, train.num_workers)
        memory.check_gpu_memory(gpu, states, offload=train.offload_optimizer)
    elif not os.environ.get("RAY_ADDRESS"):
        states = memory_per_rank(num_parameters, train, train.precision, train.num_workers)
        memory.check_memory(train.num_workers, sum(states.values()))


def _check_resumable(settings: Settings, run: RunFolder, plan: BatchPlan) -> None:
    found = CheckpointStore(checkpoints_of(run.path)).newest_good()
    if found is None:
        return
    asked, saved = identity_of(settings), found.meta["settings"]
    changed = [flag for flag in asked if saved.get(flag) != asked[flag]]
    if changed:
        now, then = (
            ", ".join(f"{flag} {values.get(flag)}" for flag in changed) for values in (asked, saved)
        )
        raise CheckpointError(
            f"{found.directory} was written with {then}, not {now}.",
            f"Resume with {then}, or start a new run.",
        )
    if found.meta["plan"] != plan.fingerprint:
        raise CheckpointError(
            f"{found.directory} belongs to other data or other windows.",
            f"Resume with the settings in {run.url('config.yaml')}, or start a new run.",
        )


def _holdout_titles(settings: Settings) -> list[str]:
    """Record the articles set aside: a search must score on what its parent never saw."""
    if not settings.data.holdout_articles:
        return []
    return list(load_questions(settings.data, "holdout").titles)


def _trainer(
    task: TrainTask, window_set: dataset.WindowSet, allocation: Allocation
) -> ray.train.torch.TorchTrainer:
    import ray.data
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    use_gpu = allocation.device == "cuda"
    data = dataset.PlannedData(
        plan=task.plan,
        window_set=window_set,
        micro_batch=task.micro_batch,
        checkpoints=task.checkpoints,
    )
    return TorchTrainer(
        run_rank,
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


def _watch(trainer: Any, monitor: Any, num_steps: int) -> None:
    """Run the trainer in a thread, and show what the monitor hears meanwhile."""
    import ray

    failure: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    num_windows = 0  # of this attempt
    with Progress(num_steps, "steps", "training") as progress, _stop_signals(monitor):
        while True:
            alive = thread.is_alive()
            for row in ray.get(monitor.drain.remote()):
                num_windows += row["num_windows"]
                progress.update(
                    row["step"],
                    windows=f"{num_windows:,}",
                    windows_per_s=row["windows_per_s"],
                    loss=row["loss"],
                    lr=row["lr"],
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
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}

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
