"""The driver's side of training: windows, workers, and what they achieved."""

from __future__ import annotations

import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from qa_lib import windows
from qa_lib.config import Settings
from qa_lib.data import load_questions
from qa_lib.errors import CheckpointError, TrainError
from qa_lib.machines import lean_imports
from qa_lib.machines.allocation import Allocation, allocate, growth
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.result import Trained
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import dataset, notice, preview, sources, teacher, teacher_only
from qa_lib.training.batch_plan import BatchPlan, plan_of
from qa_lib.training.best import check_best
from qa_lib.training.ledger import check_ledger, read_ledger
from qa_lib.training.micro_batch import micro_batch_of
from qa_lib.training.monitor import result_from, start_monitor, watch
from qa_lib.training.nodes import NodeWatch, drain
from qa_lib.training.planned_data import PlannedData
from qa_lib.training.task import (
    MAY_CHANGE,
    MICRO_BATCH,
    OLD_REMEDY,
    STATE,
    TrainTask,
    changeable_of,
    checkpoints_of,
    identity_of,
)
from qa_lib.training.trainer import trainer_of

if TYPE_CHECKING:
    from qa_lib.data import Questions, Unlabelled
    from qa_lib.training.correspondence import Correspondence
    from qa_lib.training.held_out import Judge


def fine_tune(
    settings: Settings,
    run: RunFolder,
    questions: Questions,
    *,
    last_step: int | None = None,
    match: Correspondence | None = None,
    judge: Judge | None = None,
) -> Trained:
    """Train a model on all windows of the questions and write it to the run's `model/`.

    Args:
        settings: What to train, and how.
        run: Receives checkpoints, metrics.jsonl, ledger.parquet and model/. A run with a good
            checkpoint continues from it.
        questions: To train on.
        last_step: Write the model after this many optimizer steps; a later call can continue. None
            takes all steps of the plan.
        match: Where the teacher has the student's states, of a student that was cut from it.
        judge: Scores the model on held-out questions every `train.evaluate_every` steps; the best
            becomes `model/`. None: the last does.

    Returns:
        Counts, steps, speed, world size and ZeRO stage.

    Raises:
        ResourceError: The machine or cluster cannot hold the workers.
        DataError: No question fits a window.
        TrainError: The settings teach inside a student that was not cut from its teacher.
    """
    preview.check(settings, match)
    unlabelled = teacher_only.load(settings, questions)
    start_ray()
    allocation = allocate(settings.train, growth(settings))
    monitor = start_monitor()  # while the windows are cut
    window_set, facts = _cut(settings, questions, unlabelled)
    plan = plan_of(settings, window_set.lengths)
    origin = sources.fingerprints(settings, window_set.blocks)
    if judge is not None:
        origin["held_out"] = judge.fingerprint
    check_resumable(settings, run, plan, origin)
    run.begin()
    if settings.train.teaches_inside:  # the ranks run the teacher, which gives its logits too
        facts["teacher"] = settings.train.teacher
    elif settings.train.teacher:
        window_set, teacher_facts = teacher.attach(settings, window_set)
        facts |= teacher_facts
    task = TrainTask(
        settings=settings,
        run_path=run.path,
        plan=plan,
        data=PlannedData.of(window_set, plan),
        micro_batch=_micro_batch(settings, run, allocation, int(plan.lengths.max())),
        device=allocation.device,
        monitor=monitor,
        last_step=min(last_step or plan.num_steps, plan.num_steps),
        sources=origin,
        match=match if settings.train.teaches_inside else None,
        judge=judge,
        held_out=None if judge is None else _windows(settings, judge.questions, offsets=True),
    )
    started = time.monotonic()
    facts |= _train(task, run, allocation)
    ledger = read_ledger(run)
    check_ledger(ledger, plan, facts["steps"])
    return Trained(
        num_train_questions=questions.table.num_rows - len(window_set.too_long),
        num_train_windows=plan.num_windows,
        num_window_passes=ledger.num_rows,
        num_too_long=len(window_set.too_long),
        num_quarantined=questions.num_quarantined,
        train_notes=dict(questions.notes),
        train_fingerprint=questions.fingerprint,
        holdout_titles=_holdout_titles(settings),
        train_seconds=round(time.monotonic() - started, 2),
        micro_batch=task.micro_batch,
        **facts,
    )


def _cut(
    settings: Settings, questions: Questions, unlabelled: Unlabelled | None
) -> tuple[dataset.WindowSet, dict[str, Any]]:
    """Cut all questions into windows.

    On storage are only windows that nothing is added to: a teacher's logits, whether they are
    labelled.

    Returns:
        The windows; and for result.json what is known of the unlabelled ones, if there are any.
    """
    train = settings.train
    is_added_to = train.teacher_only_source or (train.teacher and not train.teaches_inside)
    storage = None if is_added_to else settings.storage
    window_set = _windows(settings, questions, offsets=False, storage=storage)
    if unlabelled is None:
        return window_set, {}
    return teacher_only.joined(settings, window_set, len(questions), unlabelled)


def _windows(
    settings: Settings, questions: Questions, *, offsets: bool, storage: str | None = None
) -> dataset.WindowSet:
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    return dataset.tokenize(
        questions.table, settings.model.name, spec, offsets=offsets, storage=storage
    )


def _micro_batch(settings: Settings, run: RunFolder, allocation: Allocation, longest: int) -> int:
    """Return the micro-batch; for `auto` the checkpoint's, where that fits: dropout goes by it.

    What `micro_batch_of` finds depends on what else the machine does.
    """
    train, size = settings.train, micro_batch_of(settings, allocation, longest)
    found = CheckpointStore(checkpoints_of(run.path)).newest_good(warn=lambda _: None)
    noted = found.meta.get(MICRO_BATCH) if found and train.micro_batch == "auto" else None
    if noted in (None, size) or (
        noted < size and not (train.global_batch // train.max_workers) % noted
    ):
        return noted or size
    effect = MAY_CHANGE[MICRO_BATCH]
    print(f"resuming with a micro-batch of {size}, not {noted}: {effect}", file=sys.stderr)
    return size


def run_rank(config: dict[str, Any]) -> None:
    """Run one rank of the group; `config` holds the TrainTask.

    Ray Train's controller imports this module; only the ranks import torch and DeepSpeed.
    """
    lean_imports.collect_rarely()
    from qa_lib.training import worker

    worker.train(config["task"])


def _train(task: TrainTask, run: RunFolder, allocation: Allocation) -> dict[str, Any]:
    """Run the workers; if they diverge, once more from the last good checkpoint.

    Returns:
        Rank 0's result, `num_rollbacks` and `num_regroups`.

    Raises:
        TrainError: They diverged again, or could not store checkpoints or the result.
        KeyboardInterrupt: They stopped on request.
    """

    def tell(rows: list[dict[str, Any]]) -> None:
        run.refuse_if_lost()
        run.tracker.log(rows)

    nodes = NodeWatch(allocation, is_elastic=task.settings.train.is_elastic)
    num_rollbacks = num_regroups = 0
    while num_rollbacks < 2:
        trainer = trainer_of(run_rank, task, allocation)
        is_asked = watch(trainer, task.monitor, task.last_step, nodes.reason, tell)
        facts = result_from(task.monitor)
        problem, going, ending = facts.pop("problem"), facts.pop("going"), facts["ending"]
        if problem and ending != "stopped":
            raise TrainError(
                f"{run.path} cannot be written: {problem}; {_last_good(run)}.",
                "Make room there; the same command with --resume goes on from it.",
            )
        if ending == "stopped" or (ending in ("done", "regrouping") and is_asked):
            raise _interrupted(task, run, facts["steps"])
        if ending == "regrouping":
            num_regroups += 1
            _leave(going, task, run, facts["steps"])
            continue
        if ending == "done":
            return facts | {"num_rollbacks": num_rollbacks, "num_regroups": num_regroups}
        num_rollbacks += 1
        if num_rollbacks < 2:
            print(
                f"diverged at step {facts['steps']}: going back to the last good checkpoint",
                file=sys.stderr,
            )
    train = task.settings.train
    raise TrainError(
        f"Training diverged twice, the second time at step {facts['steps']}: no finite loss and "
        f"gradient in {train.max_skipped_steps} steps in a row, or weights that are not finite. "
        "The last good checkpoint stays.",
        f"Start a new run with a --train.learning-rate below {train.learning_rate:g} or "
        f"--train.precision fp32 (it was {facts['precision']}); metrics.jsonl marks the steps that "
        "were skipped.",
    )


def _interrupted(task: TrainTask, run: RunFolder, step: int) -> KeyboardInterrupt:
    """Say where the run stopped and how it goes on; return what ends the job."""
    further = "the same command with --resume goes on from there"
    # Of other jobs this may be a run inside of theirs, and recipes are files of a disk.
    if run.job == "train" and storage.is_local(run.path):
        words = ["python", "-m", "jobs.train", "--recipe", run.url("config.yaml")]
        words += ["--storage", task.settings.storage, "--run-name", run.name, "--resume"]
        further = f"go on with\n  {shlex.join(words)}"
    print(
        f"stopped after step {step} of {task.plan.num_steps}, {_last_good(run)}; {further}",
        file=sys.stderr,
    )
    return KeyboardInterrupt()


def _leave(going: dict[str, str], task: TrainTask, run: RunFolder, step: int) -> None:
    """Have nothing placed on machines that are about to be taken away.

    Raises:
        KeyboardInterrupt: This process runs on one of them.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    for node in [node for node, what in going.items() if what == notice.MACHINE]:
        if node == here:
            print("this machine is about to be taken away", file=sys.stderr)
            raise _interrupted(task, run, step)
        drain(node)


def _last_good(run: RunFolder) -> str:
    found = CheckpointStore(checkpoints_of(run.path)).newest_good(warn=lambda _: None)
    if found is None:
        return "no checkpoint could be written yet"
    return f"the last good checkpoint is {found.directory}"


def check_resumable(
    settings: Settings, run: RunFolder, plan: BatchPlan, origin: dict[str, str]
) -> None:
    """Refuse to continue a checkpoint of other settings, data or windows, or damaged ones alone."""
    store = CheckpointStore(checkpoints_of(run.path))
    found = store.newest_good()
    if found is None:
        if store.holds_complete():  # beginning again would remove them
            raise CheckpointError(
                f"All checkpoints in {store.folder.path} are damaged.",
                "Put the files back, or start a new run with --overwrite.",
            )
        return
    if STATE not in {file.name for file in found.files}:
        raise CheckpointError(f"{found.directory} was written by an earlier version.", OLD_REMEDY)
    # What an earlier version did not know was as it is by default.
    wanted = identity_of(settings)
    saved = identity_of(Settings()) | found.meta["settings"]
    changed = [flag for flag in wanted if saved.get(flag) != wanted[flag]]
    if changed:
        asked, written = (
            ", ".join(f"{flag} {values.get(flag)}" for flag in changed)
            for values in (wanted, saved)
        )
        raise CheckpointError(
            f"{found.directory} was written with {written}, not {asked}.",
            f"Resume with {written}, or start a new run.",
        )
    if found.meta["plan"] != plan.fingerprint:
        raise CheckpointError(
            f"{found.directory} belongs to other data or other windows.",
            f"Resume with the settings in {run.url('config.yaml')}, or start a new run.",
        )
    sources.refuse_others(found.directory, found.meta, origin, settings)
    check_best(run, found)
    now, then = changeable_of(settings), found.meta["changeable"]
    for flag in [flag for flag in now if flag in then and then[flag] != now[flag]]:
        effect = MAY_CHANGE[flag.removeprefix("--train.").replace("-", "_")]
        print(f"resuming with {flag} {now[flag]}, not {then[flag]}: {effect}", file=sys.stderr)


def _holdout_titles(settings: Settings) -> list[str]:
    """Return the articles held out: a search must score on articles its parent never saw."""
    if not settings.data.holdout_articles:
        return []
    return list(load_questions(settings.data, "holdout").titles)
