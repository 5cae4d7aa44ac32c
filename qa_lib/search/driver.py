"""The search from parent to chosen model."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from qa_lib import adjust, card, evaluate, recover, resources, squad, stream, teach, train, windows
from qa_lib import model as models
from qa_lib.adjust import Plan, Sizes
from qa_lib.config import Settings
from qa_lib.errors import ResourceError
from qa_lib.run import RunFolder
from qa_lib.search import figures, parent, results, table
from qa_lib.search.bench import PLAN, TrialTask
from qa_lib.search.display import Display
from qa_lib.search.halving import Halving
from qa_lib.search.journal import Journal
from qa_lib.search.proposals import propose
from qa_lib.search.space import Setting, Space, space_of

_TUNE = "tune"  # what Tune keeps for itself, of no use afterwards
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end the search as if it were done
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a folder of files for every rung
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints results even when told to be silent
}
_ADJUSTED = "adjusted"
_RETRIES = 1  # of a rung that crashed: a worker that was killed is no fault of the setting


def search(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Search, recover the chosen model in full, and evaluate it once.

    Args:
        settings: `search` says what to look for; `data.holdout_articles` is above 0.
        run: Receives search.jsonl, the tables and pictures of the trials, plan.json and `model/`.
            A run that was stopped goes on: only unfinished rungs are repeated.

    Returns:
        Fields for result.json.

    Raises:
        DataError: The parent's record does not hold out the articles that trials are scored on.
        AdjustError: The space holds nothing that this parent can become.
        ResourceError: The machine or cluster cannot hold the trials.
    """
    asked = settings.search
    held_out = held_out_questions(settings)
    parent.check_parent(settings, held_out.titles)
    resources.start_ray()
    num_concurrent = concurrency(settings)
    name = parent.obtain(settings, run)
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"name": name}),
            "train": settings.train.model_copy(update={"teacher": name}),
        }
    )
    config = models.load_config(name)
    space = space_of(config, asked.space, round_to=settings.adjust.round_to)
    halving = Halving(asked, settings.train.global_batch)
    journal = Journal(run)
    journal.begin(_identity(settings))
    task = _task(settings, run, halving, held_out, num_concurrent)
    if not journal.entries:
        entries = table.measure(config, space.sizes, task.device)
        journal.measured(table.rule_out(entries, asked))
    started_s = time.monotonic()
    run_trials(task, journal, halving, space, run=run, num_concurrent=num_concurrent)
    rows = results.rows(journal.trials, halving)
    results.write_tables(run, rows)
    chosen, is_fast = results.choose(journal.trials, asked.min_speedup)
    figures.draw(run, rows, chosen.number)
    result = results.facts(journal.trials, halving, _count(journal)) | {
        "parent": name,
        "search_seconds": round(time.monotonic() - started_s, 2),
        "chosen_trial": chosen.number,
        "chosen_reaches_min_speedup": is_fast,
        "f1_held_out_parent": journal.trials[0].outcomes[-1].f1,
        "f1_held_out": chosen.outcomes[-1].f1,
        **chosen.setting.row(),
    }
    run.write_result(result, status="running")
    run.write_text(PLAN, RunFolder(task.folder(chosen.number), "train").read_text(PLAN))
    result |= _recover(settings, run, chosen.setting, task)
    _clean(run)
    return result


def describe(settings: Settings) -> dict[str, Any]:
    """Return what `search` would do, without Ray: counts, budgets in windows, and the sizes."""
    asked = settings.search
    held_out = held_out_questions(settings)
    parent.check_parent(settings, held_out.titles)
    config = models.load_config(asked.parent or settings.model.name)
    space = space_of(config, asked.space, round_to=settings.adjust.round_to)
    halving = Halving(asked, settings.train.global_batch)
    counts = [asked.num_trials]
    for _ in range(halving.top):
        counts.append(halving.share(counts[-1]))
    return {
        "num_held_out_questions": len(held_out),
        "num_held_out_articles": len(held_out.titles),
        "num_train_questions": len(squad.load(settings.data, "train")),
        "num_sizes": len(space.sizes),
        "windows_per_rung": [step * settings.train.global_batch for step in halving.budgets],
        "num_trials_per_rung": counts,
        "trains_parent": asked.parent is None,
    }


def summary(result: dict[str, Any]) -> str:
    """Return the lines that a job ends with."""
    lines = [
        f"front: F1 on held-out training articles (the parent: {result['f1_held_out_parent']:.2f})"
    ]
    for model in result["front"]:
        mark = "*" if model["trial"] == result["chosen_trial"] else " "
        lines.append(
            f"{mark} {model['speedup']:.2f}x  F1 {model['f1']:.2f}  trial {model['trial']}:"
            f" layers {' '.join(map(str, model['kept_layers']))}, hidden {model['hidden_size']},"
            f" intermediate {model['intermediate_size']}"
        )
    if not result["chosen_reaches_min_speedup"]:
        lines.append("none of them reaches --search.min-speedup: the fastest was chosen")
    saved = result["search_windows_saved"]
    if saved is not None:
        lines.append(
            f"{result['search_windows']:,} windows trained; every trial in full would have taken"
            f" {result['search_windows_full_budgets']:,}"
        )
    return "\n".join([*lines, "the chosen model, recovered:", recover.summary(result)])


def held_out_questions(settings: Settings) -> squad.Questions:
    """Load the questions that trials are scored on: of train articles that nothing trains on."""
    data = settings.data.model_copy(update={"eval_limit": settings.search.eval_questions})
    return squad.load(data, "holdout")


def concurrency(settings: Settings) -> int:
    """Return how many trials run at a time, so that none waits for what another holds.

    Of one device: one trial per GPU, or per eight CPUs, whose threads share the rest. Of several:
    as many groups of workers as fit beside one free core.

    Raises:
        ResourceError: More are asked for than fit, or not even one does.
    """
    import ray

    allocation = resources.allocate(settings.train)
    total = ray.cluster_resources()
    on_gpu = allocation.device == "cuda"
    if allocation.num_workers == 1:
        derived = resources.num_model_actors(allocation.device)
        most = int(total["GPU"] if on_gpu else total["CPU"] / resources.MODEL_ACTOR_CPUS)
    else:
        free = total["GPU"] if on_gpu else total["CPU"] - 1
        each = allocation.num_workers * (1 if on_gpu else allocation.cpus_per_worker)
        derived = most = max(1, int(free / each + 1e-9))
    asked = settings.search.max_concurrent
    if asked is not None and asked > most:
        raise ResourceError(
            f"--search.max-concurrent {asked} is too many: there is room for {most}.",
            f"Use --search.max-concurrent {most} or fewer, or leave it out.",
        )
    return asked or derived


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
    """Run trials with Tune until the journal holds all that the settings ask for.

    Args:
        task: What they share.
        journal: Where they stand, and where they go.
        halving: Who goes on.
        space: To choose from.
        run: For what is shown and for Tune's own files.
        num_concurrent: How many at a time.
        trainable: Runs a rung; None takes that of the task's number of workers.
    """
    from ray import tune

    from qa_lib.search.proposer import Proposer, Recorder
    from qa_lib.search.trials import GroupRung, Rung

    asked, several = task.settings.search, task.settings.train.num_workers > 1
    config = models.load_config(task.settings.model.name)
    if not journal.trials:
        whole = Setting(Sizes.of(config), asked.space.importance[0], *_middle(space))
        journal.proposed(whole)
    proposer = Proposer(
        journal,
        halving,
        _proposals(task, journal, space),
        num_trials=asked.num_trials,
        window_budget=asked.window_budget,
        global_batch=task.settings.train.global_batch,
        deadline_s=time.monotonic() + (asked.time_budget_s or float("inf")),
    )
    os.environ |= _TUNE_ENVIRONMENT
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the journal holds what crashed
    cpus = 0.1 if several else resources.MODEL_ACTOR_CPUS
    gpus = 1 if task.device == "cuda" and not several else 0
    display = Display(
        run,
        journal.trials,
        halving,
        num_trials=asked.num_trials,
        num_concurrent=num_concurrent,
    )
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trainable or (GroupRung if several else Rung), task=task),
            {"CPU": cpus, "GPU": gpus},
        ),
        tune_config=tune.TuneConfig(
            search_alg=proposer,
            num_samples=-1,  # the proposer knows the end
            max_concurrent_trials=num_concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=_TUNE,
            storage_path=run.path,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            # A rung keeps its own state, in the run folder.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[Recorder(journal, display)],
        ),
    )
    with display:
        tuner.fit()


def _proposals(task: TrialTask, journal: Journal, space: Space) -> Callable[[], Setting]:
    asked = task.settings.search
    return partial(
        propose,
        space,
        {entry.sizes for entry in journal.entries[1:] if not entry.skipped},
        journal.trials,
        objective=asked.objective,
        searcher=asked.searcher,
        seed=task.settings.seed,
    )


def _task(
    settings: Settings,
    run: RunFolder,
    halving: Halving,
    held_out: squad.Questions,
    num_concurrent: int,
) -> TrialTask:
    """Prepare once what all trials share: windows, the parent's logits, calibration windows."""
    name = settings.model.name
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    questions = squad.load(settings.data, "train", quarantine_dir=run.path)
    train_windows = stream.tokenize(questions.table, name, spec, offsets=False)
    train_windows, _ = teach.attach(settings, train_windows)
    return TrialTask(
        settings=settings,
        run_path=run.path,
        parent_sha256=models.fingerprint(name),
        budgets=halving.budgets,
        device=resources.allocate(settings.train).device,
        num_threads=max(1, resources.num_local_cpus() // num_concurrent),
        calibration=adjust.draw_windows(
            questions.table,
            models.load_tokenizer(name),
            spec,
            num_windows=settings.adjust.calibration_windows,
            seed=settings.seed,
        ),
        questions=questions,
        train_windows=train_windows,
        held_out=held_out,
        held_out_windows=stream.tokenize(held_out.table, name, spec, offsets=True),
    )


def _recover(
    settings: Settings, run: RunFolder, setting: Setting, task: TrialTask
) -> dict[str, Any]:
    """Distil the parent into the chosen model with the recipe's whole training, and evaluate it."""
    name = settings.model.name
    whole = models.load(name, seed=settings.seed)
    plan = Plan.from_json(run.read_text(PLAN), run.url(PLAN))
    child = adjust.apply(whole, plan)
    result = {"proof": vars(adjust.prove(whole, child, plan))}
    result |= recover.compare(settings, whole, child)
    recover.write_model(run, child, models.load_tokenizer(name), _ADJUSTED)
    run.write_result(result, status="running")
    student = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"name": run.url(_ADJUSTED)}),
            "train": settings.train.model_copy(
                update={
                    "learning_rate": setting.learning_rate,
                    "distill_weight": setting.distill_weight,
                }
            ),
        }
    )
    result |= train.fine_tune(student, run, task.questions)
    run.write_result(result, status="running")
    result |= evaluate.evaluate_held_out(settings, run, run.url("model"))
    card.write_card(run, settings, result, made="adjusted by a search, and distilled")
    return result


def _clean(run: RunFolder) -> None:
    """Remove what only a search in progress needs: checkpoints of trials, Tune's own files."""
    from pyarrow.fs import FileSelector, FileType

    found = run.filesystem.get_file_info(FileSelector(f"{run.root}/trials"))
    folders = [f"{trial.path}/checkpoints" for trial in found] + [f"{run.root}/{_TUNE}"]
    for info in run.filesystem.get_file_info(folders):
        if info.type == FileType.Directory:
            run.filesystem.delete_dir(info.path)


def _identity(settings: Settings) -> dict[str, Any]:
    """Return the settings, by flag, without which the trials' figures could not be compared."""
    free = {"parent", "num_trials", "time_budget_s", "window_budget", "max_concurrent", "searcher"}
    groups = {
        "search": settings.search.model_dump(mode="json", exclude=free),
        "data": settings.data.model_dump(mode="json"),
        "train": settings.train.model_dump(
            mode="json", include={"global_batch", "precision", "num_workers", "dropout"}
        ),
    }
    flags = {
        f"--{group}.{name.replace('_', '-')}": value
        for group, values in groups.items()
        for name, value in values.items()
    }
    return flags | {"--seed": settings.seed, "parent": models.fingerprint(settings.model.name)}


def _count(journal: Journal) -> dict[str, int]:
    """Count the sizes of the space: admitted, too slow, dominated."""
    reasons = [entry.skipped or "admitted" for entry in journal.entries[1:]]
    return {reason: reasons.count(reason) for reason in ("admitted", "too slow", "dominated")}


def _middle(space: Space) -> tuple[float, float]:
    return space.learning_rate[0], space.distill_weight[0]
