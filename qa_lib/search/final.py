"""The end of a search: the chosen model recovered in full, and evaluated once."""

from __future__ import annotations

from collections.abc import Callable

from qa_lib import models
from qa_lib.adjust import Plan, pipeline, prune
from qa_lib.config import Settings
from qa_lib.models import card
from qa_lib.runs.result import Adjusted
from qa_lib.runs.run_folder import PLAN, RunFolder
from qa_lib.search import rates
from qa_lib.search.halving import Trial
from qa_lib.search.journal import Journal
from qa_lib.search.trial_worker import TrialTask
from qa_lib.search.tuner import TUNE

_CHECKPOINTS = "checkpoints"


def recover_once(
    run: RunFolder,
    journal: Journal,
    asked: float,
    number: int,
    settings: Settings,
    recover: Callable[[], None],
) -> None:
    """Recover a trial's model in a run, unless that is done; what another's recovery left goes.

    Args:
        run: Receives the model.
        journal: Knows which trial's recovery was begun or done there; records this one.
        asked: The speed asked for; 0 where sizes are drawn.
        number: Of the trial.
        settings: A finished recovery by other settings of the training is not skipped.
        recover: Does it, from the last checkpoint that the run has.
    """
    train = settings.train.model_dump(mode="json")
    begun, before, is_done = journal.recoveries.get(asked, (number, train, False))
    if is_done and (begun, before) == (number, train):
        return
    if begun != number:  # the search has gone on, and chosen another
        for name in (_CHECKPOINTS, pipeline.ADJUSTED, pipeline.MODEL, PLAN):
            run.remove(name)
        if "blocks" in run.result:  # of layers that differed
            run.write_result(Adjusted(blocks=None), status="running")
    journal.recovery(asked, number, train, is_done=False)
    recover()
    journal.recovery(asked, number, train, is_done=True)


def recover_chosen(
    task: TrialTask, run: RunFolder, make_plan: Callable[[], Plan], trial: Trial
) -> None:
    """Distil the parent into the chosen model with the recipe's whole training, and evaluate it.

    A run that has a checkpoint goes on with the model that it was begun with: a plan that is made
    again, on another machine, need not have the same bits.

    Args:
        task: What the trials shared.
        run: Receives plan.json and `model/`.
        make_plan: Makes the plan of the chosen sizes.
        trial: The chosen one.
    """
    settings = task.settings
    rate = rates.of_recovery(trial, settings, task.train_windows.num_windows)
    if run.exists(PLAN) and run.exists(_CHECKPOINTS):
        Plan.read(run).check_parent(task.parent_sha256, settings.model.name)
    else:
        parent = models.load(settings.model.name, seed=settings.seed)
        child, pruned = prune.write_pruned(settings, run, parent, make_plan(), pipeline.ADJUSTED)
        costs = pipeline.compare(settings, parent, child)
        run.write_result(pruned, costs, Adjusted(recovery_learning_rate=rate), status="running")
        del parent, child
    chosen = {"learning_rate": rate, "distill_weight": trial.setting.distill_weight}
    train = settings.train.model_copy(update=chosen)
    taught = settings.model_copy(update={"train": train})
    pipeline.recover_and_score(taught, run, task.questions)
    card.write_card(run, settings, made="adjusted by a search, and distilled")


def clean(run: RunFolder) -> None:
    """Remove what only an unfinished search needs: checkpoints of trials, Tune's own files."""
    for trial in run.entries("trials"):
        run.remove(f"trials/{trial.base_name}/{_CHECKPOINTS}")
    run.remove(TUNE)
