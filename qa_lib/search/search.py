"""A search from the parent to the chosen model."""

from __future__ import annotations

from functools import partial
from typing import Any

from qa_lib import adjust, evaluation, models, windows
from qa_lib.adjust import Plan, Sizes, pipeline
from qa_lib.config import Settings
from qa_lib.data import Questions, load_questions
from qa_lib.errors import AdjustError
from qa_lib.machines.allocation import allocate, growth
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs.result import Searched
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import latency_table, parent, pareto, results
from qa_lib.search.final import clean, recover_chosen
from qa_lib.search.halving import Halving, Trial
from qa_lib.search.journal import Journal
from qa_lib.search.space import Space, space_of
from qa_lib.search.trial_worker import TrialTask
from qa_lib.search.tuner import concurrency, run_trials
from qa_lib.training import dataset, teacher


def search(settings: Settings, run: RunFolder) -> None:
    """Search, recover the chosen model in full, and evaluate it once.

    Args:
        settings: `search` says what to look for; `data.holdout_articles` is above 0.
        run: Receives search.jsonl, tables and picture of the trials, plan.json and `model/`. A
            resumed run repeats only unfinished rungs.

    Raises:
        DataError: The parent's result.json does not hold out the articles that trials are scored
            on.
        AdjustError: The space holds nothing that this parent can become, or every trial crashed.
        ResourceError: The machine or cluster cannot hold the trials.
    """
    task, journal, halving = explore(settings, run)
    front = results.front_of(journal.trials)
    if not front:
        reason = next((trial.error for trial in journal.trials if trial.error), "none has ended")
        raise AdjustError(
            f"No trial gave a model: {reason}.",
            "Mend that, or give more --search.time-budget-s, and continue with --resume.",
        )
    compared = [journal.trials[0], *front]
    milliseconds = latency_table.measure_models(
        models.load_config(task.settings.model.name),
        [trial_sizes(task, trial) for trial in compared],
        task.device,
    )
    measured = {t.number: round(ms, 4) for t, ms in zip(compared, milliseconds, strict=True)}
    speedups = {number: measured[0] / ms for number, ms in measured.items()}
    rows = results.rows(journal.trials, halving, measured)
    results.write_tables(run, rows)
    chosen, is_fast = results.choose(front, speedups, settings.search.min_speedup)
    pareto.draw(run, rows, chosen.number)
    searched = Searched(
        **results.facts(journal, halving, speedups),
        parent=task.settings.model.name,
        chosen_trial=chosen.number,
        chosen_reaches_min_speedup=is_fast,
        f1_held_out_parent=rows[0]["f1"],
        f1_held_out=chosen.outcomes[-1].f1,
        **chosen.setting.row(),
    )
    run.write_result(searched, status="running")
    plan = Plan.read(task.folder(chosen.number))
    recover_chosen(task.settings, run, plan, chosen.setting, task.questions)
    clean(run)


def explore(settings: Settings, run: RunFolder) -> tuple[TrialTask, Journal, Halving]:
    """Obtain the parent, rule sizes out, and run the trials.

    Returns:
        What the trials shared, the journal that holds them, and the rungs.
    """
    held_out, space, halving = _prepare(settings)
    evaluation.warn_of_language(held_out, settings.evaluate)
    config = models.load_config(settings.search.parent or settings.model.name)
    start_ray()
    num_concurrent = concurrency(settings)
    name = parent.obtain(settings, run)
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"name": name}),
            "train": settings.train.model_copy(update={"teacher": name}),
        }
    )
    journal = Journal(run)
    journal.begin(_identity(settings))
    run.begin()
    task = _task(settings, run, halving, held_out, num_concurrent)
    if not journal.entries:
        entries = latency_table.measure(config, space.sizes, task.device)
        measure_whole = partial(latency_table.measure_models, config, device=task.device)
        entries = latency_table.confirm(entries, settings.search, measure_whole)
        journal.measured(latency_table.rule_out(entries, settings.search))
    run_trials(task, journal, halving, space, run=run, num_concurrent=num_concurrent)
    return task, journal, halving


def describe(settings: Settings) -> dict[str, Any]:
    """Return what `search` would do, without Ray: counts, budgets in windows, and sizes."""
    held_out, space, halving = _prepare(settings)
    num_trials = [settings.search.num_trials]
    for _ in range(halving.top):
        num_trials.append(halving.share(num_trials[-1]))
    return {
        "num_held_out_questions": len(held_out),
        "num_held_out_articles": len(held_out.titles),
        "num_train_questions": len(load_questions(settings.data, "train")),
        "num_sizes": len(space.sizes),
        "windows_per_rung": [step * settings.train.global_batch for step in halving.budgets],
        "num_trials_per_rung": num_trials,
        "trains_parent": settings.search.parent is None,
    }


def summary(result: dict[str, Any]) -> str:
    """Return the lines that a job ends with."""
    f1 = result["f1_held_out_parent"]
    of_parent = "" if f1 is None else f" (the parent: {f1:.2f})"
    lines = [f"front: F1 on held-out training articles{of_parent}"]
    for model in result["front"]:
        mark = "*" if model["trial"] == result["chosen_trial"] else " "
        lines.append(
            f"{mark} {model['speedup']:.2f}x  F1 {model['f1']:.2f}  trial {model['trial']}:"
            f" layers {' '.join(map(str, model['kept_layers']))}, hidden {model['hidden_size']},"
            f" intermediate {model['intermediate_size']}{' ragged' if model['ragged'] else ''}"
        )
    if not result["chosen_reaches_min_speedup"]:
        lines.append("none of them reaches --search.min-speedup: the fastest was chosen")
    if result["search_windows_saved"] is not None:
        lines.append(
            f"{result['search_windows']:,} windows trained; every trial in full would have taken"
            f" {result['search_windows_full_budgets']:,}"
        )
    return "\n".join([*lines, "the chosen model, recovered:", pipeline.summary(result)])


def _prepare(settings: Settings) -> tuple[Questions, Space, Halving]:
    """Return the questions that trials are scored on, the space, and the rungs.

    The questions are of train articles that neither parent nor trials are trained on.
    """
    data = settings.data.model_copy(update={"eval_limit": settings.search.eval_questions})
    held_out = load_questions(data, "holdout")
    parent.check_parent(settings, held_out.titles)
    config = models.load_config(settings.search.parent or settings.model.name)
    space = space_of(config, settings.search.space, round_to=settings.adjust.round_to)
    return held_out, space, Halving(settings.search, settings.train.global_batch)


def _task(
    settings: Settings,
    run: RunFolder,
    halving: Halving,
    held_out: Questions,
    num_concurrent: int,
) -> TrialTask:
    """Prepare once what all trials share: windows, the parent's logits, calibration windows."""
    import ray

    name = settings.model.name
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    questions = load_questions(settings.data, "train", quarantine_dir=run.path)
    train_windows = dataset.tokenize(questions.table, name, spec, offsets=False)
    train_windows, _ = teacher.attach(settings, train_windows)
    return TrialTask(
        settings=settings,
        run_path=run.path,
        parent_sha256=models.fingerprint(name),
        budgets=halving.budgets,
        device=allocate(settings.train, growth(settings)).device,
        num_threads=max(1, int(ray.cluster_resources()["CPU"] / num_concurrent)),
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
        held_out_windows=dataset.tokenize(held_out.table, name, spec, offsets=True),
    )


def trial_sizes(task: TrialTask, trial: Trial) -> Sizes:
    """Return the sizes of a trial that was cut; those of ragged layers are in its plan."""
    if trial.setting.sizes.blocks is None:
        return trial.setting.sizes
    return Plan.read(task.folder(trial.number)).keep.sizes


def _identity(settings: Settings) -> dict[str, Any]:
    """Return, by flag, the settings that trials must share for their scores to be comparable."""
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
    if settings.evaluate.language != "squad":  # its F1 is what trials are ranked by
        flags["--evaluate.language"] = settings.evaluate.language
    return flags | {"--seed": settings.seed, "parent": models.fingerprint(settings.model.name)}
