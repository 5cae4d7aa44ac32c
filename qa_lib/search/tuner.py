"""The trials on Ray Tune: how many at a time, and running them to the end of the search."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from qa_lib import models
from qa_lib.adjust import Sizes
from qa_lib.config import Settings
from qa_lib.errors import ResourceError
from qa_lib.machines.allocation import (
    MODEL_ACTOR_CPUS,
    allocate,
    capacity,
    growth,
    num_model_actors,
)
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import rates
from qa_lib.search.brackets import Brackets
from qa_lib.search.display import Display
from qa_lib.search.halving import Halving
from qa_lib.search.journal import Journal
from qa_lib.search.sampler import sample
from qa_lib.search.space import Setting, Space
from qa_lib.search.trial_worker import TrialTask

TUNE = "tune"
"""Folder of a run that Tune keeps for itself, of no use afterwards."""

_RETRIES = 1  # of a rung that crashed: the setting is not to blame for a worker that was killed
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end the search as if it were done
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a folder of files for every rung
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints results even when told to be silent
}


def concurrency(settings: Settings) -> int:
    """Return how many trials run at a time, so that none waits for what another holds.

    Trials of one device: one per GPU, or per eight CPUs, and their threads share the rest. Trials
    of several devices: as many groups of workers as fit beside one free core.

    Raises:
        ResourceError: `search.max_concurrent` is more than fit.
    """
    cluster = growth(settings)
    allocation = allocate(settings.train, cluster)
    num_cpus, num_gpus = capacity(cluster)
    on_gpu = allocation.device == "cuda"
    if allocation.num_workers == 1:
        derived = num_model_actors(allocation.device, cluster)
        most = int(num_gpus if on_gpu else num_cpus / MODEL_ACTOR_CPUS)
    else:
        free = num_gpus if on_gpu else num_cpus - 1
        per_trial = allocation.num_workers * (1 if on_gpu else allocation.cpus_per_worker)
        derived = most = max(1, int(free / per_trial + 1e-9))
    wanted = settings.search.max_concurrent
    if wanted is not None and wanted > most:
        raise ResourceError(
            f"--search.max-concurrent {wanted} is too many: there is room for {most}.",
            f"Use --search.max-concurrent {most} or fewer, or leave it out.",
        )
    return wanted or derived


def run_trials(
    task: TrialTask,
    journal: Journal,
    halving: Halving,
    space: Space,
    *,
    run: RunFolder,
    num_concurrent: int,
    trainable: Any = None,
) -> None:
    """Run trials with Tune until the journal holds all that the settings call for.

    Trials that crashed in an earlier start of the search are retried once.

    Args:
        task: What the trials share.
        journal: Where they stand; records where they go.
        halving: Decides which trials go on.
        space: Settings to choose from.
        run: Receives the curves of the display, and Tune's own files.
        num_concurrent: Trials at a time.
        trainable: Runs a rung; None takes that of the task's number of workers.
    """
    from qa_lib.search.searcher import Recorder, RungSearcher

    settings, options = task.settings, task.settings.search
    if not journal.trials:
        parent = Sizes.of(models.load_config(settings.model.name))
        lowest = space.learning_rate[0], space.distill_weight[0]
        journal.proposed(Setting(parent, space.importance[0], *lowest))
    journal.retry()
    draw = _proposals(journal, halving, space, settings)
    searcher = RungSearcher(journal, halving, draw, options, settings.train.global_batch)
    display = Display(
        run, journal.trials, halving, num_trials=options.num_trials, num_concurrent=num_concurrent
    )
    tuner = _tuner(task, run, searcher, Recorder(journal, display), num_concurrent, trainable)
    with display:
        try:
            tuner.fit()
        except KeyboardInterrupt:
            print(
                f"stopped; the same command with --resume --run-name {run.name} continues",
                file=sys.stderr,
            )
            raise


def _proposals(
    journal: Journal, halving: Halving, space: Space, settings: Settings
) -> Callable[[], Setting | None]:
    """Propose the enumerated sizes, where there are such; return what proposes further settings."""
    options = settings.search
    if not isinstance(halving, Brackets):
        return partial(
            sample,
            space,
            {entry.sizes for entry in journal.entries[1:] if not entry.skipped},
            journal.trials,
            objective=options.objective,
            searcher=options.searcher,
            seed=settings.seed,
        )
    known = {trial.setting.sizes for trial in journal.trials}
    for setting in rates.of_sizes(journal.entries, space, settings.train.global_batch):
        if setting.sizes not in known:
            journal.proposed(setting)
    return partial(rates.vary, space, halving, journal.trials, options.num_trials, settings.seed)


def _tuner(
    task: TrialTask,
    run: RunFolder,
    searcher: Any,
    recorder: Any,
    num_concurrent: int,
    trainable: Any,
) -> Any:
    """Set Tune up: a trial of its own for every rung, in actors that are reused."""
    from ray import tune

    from qa_lib.search.trainable import GroupRung, Rung

    os.environ |= _TUNE_ENVIRONMENT
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the journal records crashes
    several = task.settings.train.max_workers > 1
    cpus = 0.1 if several else MODEL_ACTOR_CPUS
    gpus = 1 if task.device == "cuda" and not several else 0
    return tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trainable or (GroupRung if several else Rung), task=task),
            {"CPU": cpus, "GPU": gpus},
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,  # the searcher knows the end
            max_concurrent_trials=num_concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=run.path,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            # A rung keeps its own state, in the run folder.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[recorder],
        ),
    )
