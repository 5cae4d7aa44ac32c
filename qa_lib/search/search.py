"""A search from the parent to the models for the speeds that were asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from qa_lib import models
from qa_lib.adjust import Plan, pipeline
from qa_lib.config import Settings
from qa_lib.data import load_questions
from qa_lib.errors import AdjustError
from qa_lib.runs.result import Searched
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import front, latency_table, pareto, results, study
from qa_lib.search.explore import choices, explore, is_one_shot, prepare, trial_sizes
from qa_lib.search.final import clean, recover_chosen, recover_once
from qa_lib.search.space import space_of
from qa_lib.search.target import AsOnnx, target_of


def search(settings: Settings, run: RunFolder, as_onnx: AsOnnx | None = None) -> None:
    """Search, recover the chosen models in full, and evaluate each once.

    Args:
        settings: `search` says what to look for; `data.holdout_articles` is above 0.
        run: Receives search.jsonl, tables and picture of the trials, plan.json and `model/`; in
            `front/` the models of other speeds that were asked for. A resumed run repeats only
            unfinished rungs.
        as_onnx: Exports a model, `qa_lib.serving.onnx.as_onnx`, for targets that need it.

    Raises:
        DataError: The parent's result.json does not hold out the articles that trials are scored
            on.
        AdjustError: The space holds nothing that this parent can become, or every trial crashed.
        ResourceError: The machine or cluster cannot hold the trials, or lacks the target.
    """
    task, journal, rule = explore(settings, run, as_onnx)
    found = results.front_of(journal.trials)
    if not found:
        reason = next((trial.error for trial in journal.trials if trial.error), "none has ended")
        raise AdjustError(
            f"No trial gave a model: {reason}.",
            "Mend that, or give more --search.time-budget-s, and continue with --resume.",
        )
    target = target_of(settings, as_onnx)
    config = models.load_config(task.settings.model.name)
    compared = [journal.trials[0], *found]
    if not journal.milliseconds.keys() >= {trial.number for trial in compared}:
        milliseconds = latency_table.measure_models(
            config, [trial_sizes(task, trial) for trial in compared], target
        )
        timed = zip(compared, milliseconds, strict=True)
        journal.timed({trial.number: round(ms, 4) for trial, ms in timed})
    measured = {trial.number: journal.milliseconds[trial.number] for trial in compared}
    speedups = {number: measured[0] / ms for number, ms in measured.items()}
    rows = results.rows(journal.trials, rule, measured)
    results.write_tables(run, rows)
    study.write(run, journal.trials, rule.top)
    if is_one_shot(settings):
        picks = front.fitted(
            task, journal, choices(config, task.settings), config, target, speedups
        )
        chosen, is_fast = journal.trials[picks[0].trial], picks[0].reaches
        sizes, about = picks[0].sizes, front.facts(picks[0])
    else:
        picks, about = [], {}
        chosen, is_fast = results.choose(found, speedups, settings.search.min_speedup)
        sizes = trial_sizes(task, chosen)
    pareto.draw(run, rows, chosen.number)
    searched = Searched(
        **results.facts(journal, rule, speedups),
        **about,
        parent=task.settings.model.name,
        target=target.name,
        chosen_trial=chosen.number,
        chosen_reaches_min_speedup=is_fast,
        f1_held_out_parent=rows[0]["f1"],
        f1_held_out=chosen.outcomes[-1].f1,
        **replace(chosen.setting, sizes=sizes).row(),
    )
    run.write_result(searched, status="running")
    if picks:
        front.recover(task, run, journal, picks, config)
    else:
        read_plan = partial(Plan.read, task.folder(chosen.number))
        recover = partial(recover_chosen, task, run, read_plan, chosen)
        recover_once(run, journal, 0.0, chosen.number, task.settings, recover)
    clean(run)


def describe(settings: Settings, as_onnx: AsOnnx | None = None) -> dict[str, Any]:
    """Return what `search` would do, without Ray: counts, budgets in windows, and sizes."""
    held_out, halving = prepare(settings)
    config = models.load_config(settings.search.parent or settings.model.name)
    wish, round_to = settings.search.space, settings.adjust.round_to
    num_speeds = len(settings.search.asked_speeds)
    target_of(settings, as_onnx)
    num_sizes = (
        choices(config, settings).num_shapes * num_speeds
        if is_one_shot(settings)
        else len(space_of(config, wish, round_to=round_to).sizes)
    )
    return {
        "num_held_out_questions": len(held_out),
        "num_held_out_articles": len(held_out.titles),
        "num_train_questions": len(load_questions(settings.data, "train")),
        "num_sizes": num_sizes,
        "windows_per_rung": [step * settings.train.global_batch for step in halving.budgets],
        "num_trials_per_rung": halving.num_trials_per_rung(settings.search.num_trials),
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
    lines += [
        f"none of them reaches the {model['asked_speedup']:g}x that was asked for: the fastest has"
        f" {model['speedup']:.2f}x"
        for model in result["front"]
        if model["speedup"] < (model.get("asked_speedup") or 0.0) * (1 - latency_table.TOLERANCE)
    ]
    if "asked_speedup" not in result and not result["chosen_reaches_min_speedup"]:
        lines.append("none of them reaches --search.min-speedup: the fastest was chosen")
    if result["search_windows_saved"] is not None:
        lines.append(
            f"{result['search_windows']:,} windows trained; every trial in full would have taken"
            f" {result['search_windows_full_budgets']:,}"
        )
    return "\n".join([*lines, "the chosen model, recovered:", pipeline.summary(result)])
