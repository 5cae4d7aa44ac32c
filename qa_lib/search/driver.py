"""The search from parent to chosen model."""

from __future__ import annotations

from functools import partial
from typing import Any

from qa_lib import adjust, models, windows
from qa_lib.adjust import Plan, Sizes, pipeline
from qa_lib.config import Settings
from qa_lib.data import Questions, load_questions
from qa_lib.errors import AdjustError
from qa_lib.machines.allocation import allocate, growth
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs.run_folder import PLAN, RunFolder
from qa_lib.search import figures, latency_table, parent, results
from qa_lib.search.final import clean, recover_chosen
from qa_lib.search.halving import Halving, Trial
from qa_lib.search.journal import Journal
from qa_lib.search.space import space_of
from qa_lib.search.trial_worker import TrialTask
from qa_lib.search.tuner import concurrency, run_trials
from qa_lib.training import dataset, teacher


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
    task, journal, halving = explore(settings, run)
    front = _front(journal)
    config = models.load_config(task.settings.model.name)
    compared = [journal.trials[0], *front]
    milliseconds = latency_table.measure_models(
        config, [_sizes_of(task, trial) for trial in compared], task.device
    )
    measured = {t.number: round(ms, 4) for t, ms in zip(compared, milliseconds, strict=True)}
    speedups = {number: measured[0] / ms for number, ms in measured.items()}
    rows = results.rows(journal.trials, halving, measured)
    results.write_tables(run, rows)
    chosen, is_fast = results.choose(front, speedups, settings.search.min_speedup)
    figures.draw(run, rows, chosen.number)
    result = results.facts(journal.trials, halving, _count(journal), speedups) | {
        "parent": task.settings.model.name,
        "chosen_trial": chosen.number,
        "chosen_reaches_min_speedup": is_fast,
        "f1_held_out_parent": rows[0]["f1"],
        "f1_held_out": chosen.outcomes[-1].f1,
        **chosen.setting.row(),
    }
    run.write_result(result, status="running")
    run.write_text(PLAN, task.folder(chosen.number).read_text(PLAN))
    result |= recover_chosen(task.settings, run, chosen.setting, task.questions)
    clean(run)
    return result


def explore(settings: Settings, run: RunFolder) -> tuple[TrialTask, Journal, Halving]:
    """Obtain the parent, rule sizes out, and run the trials.

    Args:
        settings: As for `search`.
        run: Likewise.

    Returns:
        What the trials shared, the journal that holds them, and the rungs.
    """
    asked = settings.search
    held_out = held_out_questions(settings)
    parent.check_parent(settings, held_out.titles)
    config = models.load_config(asked.parent or settings.model.name)
    space = space_of(config, asked.space, round_to=settings.adjust.round_to)
    start_ray()
    num_concurrent = concurrency(settings)
    name = parent.obtain(settings, run)
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"name": name}),
            "train": settings.train.model_copy(update={"teacher": name}),
        }
    )
    halving = Halving(asked, settings.train.global_batch)
    journal = Journal(run)
    journal.begin(_identity(settings))
    task = _task(settings, run, halving, held_out, num_concurrent)
    if not journal.entries:
        entries = latency_table.measure(config, space.sizes, task.device)
        compare = partial(latency_table.compare_models, config, device=task.device)
        entries = latency_table.confirm(entries, asked, compare)
        journal.measured(latency_table.rule_out(entries, asked))
    run_trials(task, journal, halving, space, run=run, num_concurrent=num_concurrent)
    return task, journal, halving


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
        "num_train_questions": len(load_questions(settings.data, "train")),
        "num_sizes": len(space.sizes),
        "windows_per_rung": [step * settings.train.global_batch for step in halving.budgets],
        "num_trials_per_rung": counts,
        "trains_parent": asked.parent is None,
    }


def summary(result: dict[str, Any]) -> str:
    """Return the lines that a job ends with."""
    whole = result["f1_held_out_parent"]
    beside = "" if whole is None else f" (the parent: {whole:.2f})"
    lines = [f"front: F1 on held-out training articles{beside}"]
    for model in result["front"]:
        mark = "*" if model["trial"] == result["chosen_trial"] else " "
        lines.append(
            f"{mark} {model['speedup']:.2f}x  F1 {model['f1']:.2f}  trial {model['trial']}:"
            f" layers {' '.join(map(str, model['kept_layers']))}, hidden {model['hidden_size']},"
            f" intermediate {model['intermediate_size']}{' ragged' if model['ragged'] else ''}"
        )
    if not result["chosen_reaches_min_speedup"]:
        lines.append("none of them reaches --search.min-speedup: the fastest was chosen")
    saved = result["search_windows_saved"]
    if saved is not None:
        lines.append(
            f"{result['search_windows']:,} windows trained; every trial in full would have taken"
            f" {result['search_windows_full_budgets']:,}"
        )
    return "\n".join([*lines, "the chosen model, recovered:", pipeline.summary(result)])


def held_out_questions(settings: Settings) -> Questions:
    """Load the questions that trials are scored on: of train articles that nothing trains on."""
    data = settings.data.model_copy(update={"eval_limit": settings.search.eval_questions})
    return load_questions(data, "holdout")


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


def _sizes_of(task: TrialTask, trial: Trial) -> Sizes:
    """Return a trial's sizes; how ragged layers shared them out stands in its plan."""
    sizes = trial.setting.sizes
    if sizes.blocks is None:
        return sizes
    text = task.folder(trial.number).read_text(PLAN)
    return Plan.from_json(text).keep.sizes


def _front(journal: Journal) -> list[Trial]:
    """Return the front.

    Raises:
        AdjustError: Every trial crashed, or none was begun.
    """
    front = results.front_of(journal.trials)
    if not front:
        crashed = next((trial.error for trial in journal.trials if trial.error), "none has ended")
        raise AdjustError(
            f"No trial gave a model: {crashed}.",
            "Mend that, or give more --search.time-budget-s, and go on with --resume.",
        )
    return front


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
