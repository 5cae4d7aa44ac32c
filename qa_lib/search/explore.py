"""What a search tries: what trials share, which sizes are worth one, and running them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from qa_lib import adjust, evaluation, models, windows
from qa_lib.adjust import Plan, Sizes
from qa_lib.adjust.calibrate import Batch
from qa_lib.config import Settings
from qa_lib.data import Questions, load_questions
from qa_lib.machines.allocation import allocate, growth
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import latency_model, latency_table, one_shot, parent
from qa_lib.search.brackets import Brackets
from qa_lib.search.halving import Halving, Trial
from qa_lib.search.journal import TARGET, Journal
from qa_lib.search.latency_model import LatencyModel
from qa_lib.search.latency_table import Entry
from qa_lib.search.scoring import Scorer, ScoringTask, scorer
from qa_lib.search.shared_out import Sharer
from qa_lib.search.space import Choices, Space, choices_of, space_of
from qa_lib.search.target import AsOnnx, Target, target_of
from qa_lib.search.trial_worker import TrialTask
from qa_lib.search.tuner import concurrency, run_trials
from qa_lib.training import dataset, teacher
from qa_lib.training.task import MAY_CHANGE

_RAGGED_OF_A_SPEED = 4  # ragged sizes that are ranked beside the stock ones
_CALIBRATED = 4  # whole models that the latency model is fitted to, at most
_OF_CUTS = {"fold", "refit", "seams", "steps", "calibration_windows", "round_to"}
"""Fields of `adjust` that trials are cut by."""
_NOT_OF_TRIALS = MAY_CHANGE.keys() - {"precision", "num_workers"} | {
    *("learning_rate", "distill_weight", "epochs", "max_steps", "evaluate_every", "teacher"),
    *("teacher_only_source", "teacher_only_limit"),
    *("hidden_weight", "relation_weight", "inner_decay"),
}
"""Fields of `train` that a trial sets itself, leaves to the recovery, or may change."""


@dataclass(frozen=True)
class Ranked:
    """What trials begin with.

    Attributes:
        task: What they share.
        journal: Holds the sizes that are worth a trial, the best of each speed first.
        rule: The rungs.
        space: Of their settings.
        num_concurrent: How many run at a time.
    """

    task: TrialTask
    journal: Journal
    rule: Halving
    space: Space
    num_concurrent: int


def explore(
    settings: Settings, run: RunFolder, as_onnx: AsOnnx | None = None
) -> tuple[TrialTask, Journal, Halving]:
    """Obtain the parent, find the sizes that are worth a trial, and run the trials.

    Returns:
        What the trials shared, the journal that holds them, and the rungs.
    """
    found = rank(settings, run, as_onnx)
    task, journal, rule = found.task, found.journal, found.rule
    run_trials(task, journal, rule, found.space, run=run, num_concurrent=found.num_concurrent)
    return task, journal, rule


def rank(settings: Settings, run: RunFolder, as_onnx: AsOnnx | None = None) -> Ranked:
    """Obtain the parent, and find the sizes that are worth a trial; no trial is run."""
    held_out, rule = prepare(settings)
    evaluation.warn_of_language(held_out, settings.evaluate)
    config = models.load_config(settings.search.parent or settings.model.name)
    space = _space(config, settings)
    target_of(settings, as_onnx)
    start_ray()
    num_concurrent = concurrency(settings)
    name = parent.obtain(settings, run)
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"name": name}),
            "train": settings.train.model_copy(update={"teacher": name}),
        }
    )
    journal, target = Journal(run), target_of(settings, as_onnx)
    journal.begin(_identity(settings, target))
    run.begin()
    task = _task(settings, run, rule, held_out, num_concurrent)
    if not journal.entries:
        if is_one_shot(settings):
            entries = _enumerated(config, task, journal, target)
        else:
            entries = _drawn(config, space, settings, target)
        journal.measured(entries)
        if is_one_shot(settings):
            one_shot.say_unreached(entries, settings.search.asked_speeds)
    return Ranked(task, journal, rule, space, num_concurrent)


def prepare(settings: Settings) -> tuple[Questions, Halving]:
    """Return the questions that trials are scored on, and the rungs; check the settings.

    The questions are of train articles that neither parent nor trials are trained on.
    """
    data = settings.data.model_copy(update={"eval_limit": settings.search.eval_questions})
    held_out = load_questions(data, "holdout")
    parent.check_parent(settings, held_out.titles)
    _say_unused(settings)
    rule = Brackets if is_one_shot(settings) else Halving
    return held_out, rule(settings.search, settings.train.global_batch)


def _say_unused(settings: Settings) -> None:
    """Say which settings of an adjustment do not apply: a search chooses what is cut itself."""
    given = settings.adjust.model_dump(exclude_defaults=True, exclude={"recover"})
    if is_one_shot(settings) and given.pop("steps", None):
        print(
            f"note: units of all sizes are scored once: --adjust.steps {settings.adjust.steps} does"
            " not apply.",
            file=sys.stderr,
        )
    unused = [f"--adjust.{name.replace('_', '-')}" for name in given if name not in _OF_CUTS]
    if unused:
        print(
            f"note: {', '.join(unused)} {'do' if len(unused) > 1 else 'does'} not apply: a search"
            " chooses what is cut, by --search.space. What it has found, jobs.adjust cuts further.",
            file=sys.stderr,
        )


def is_one_shot(settings: Settings) -> bool:
    """Say whether sizes are enumerated, not drawn."""
    return settings.search.searcher == "one-shot"


def choices(config: Any, settings: Settings) -> Choices:
    """Return what sizes are enumerated from."""
    return choices_of(config, settings.search.space, round_to=settings.adjust.round_to)


def _space(config: Any, settings: Settings) -> Space:
    """Return the space; of enumerated sizes only that of the rates, once the sizes are checked."""
    wish = settings.search.space
    if not is_one_shot(settings):
        return space_of(config, wish, round_to=settings.adjust.round_to)
    choices(config, settings)
    return Space((), wish.importance, wish.learning_rate, wish.distill_weight)


def _drawn(config: Any, space: Space, settings: Settings, target: Target) -> list[Entry]:
    """Price all sizes of the space, and rule out what is not worth a trial."""
    entries = latency_table.measure(config, space.sizes, target)
    measure_whole = partial(latency_table.measure_models, config, target=target)
    entries = latency_table.confirm(entries, settings.search, measure_whole)
    return latency_table.rule_out(entries, settings.search)


def _enumerated(config: Any, task: TrialTask, journal: Journal, target: Target) -> list[Entry]:
    """Cut and rank the sizes near every speed."""
    settings = task.settings
    of_what = choices(config, settings)
    if journal.latency is None:
        journal.modelled(_latency(config, of_what, settings, target))
    latency = journal.latency
    assert latency is not None, "just recorded"
    scoring = ScoringTask(
        parent=settings.model.name,
        adjust=task.adjust_settings(settings.search.space.importance[0]),
        seed=settings.seed,
        device=task.device,
        calibration=task.calibration,
        held_out=_draw(settings, task.held_out, settings.search.held_out_windows),
    )
    with scorer(settings, scoring, journal) as score:
        ragged = partial(_ragged, Sharer(latency, score, seed=settings.seed), score, latency)
        return one_shot.rank(
            config,
            of_what,
            latency,
            settings.search,
            score,
            partial(score, measure="agreement"),
            ragged if of_what.ragged else None,
        )


def _latency(config: Any, of_what: Choices, settings: Settings, target: Target) -> LatencyModel:
    """Measure the latency model, and fit it to whole models near the speeds."""
    model = latency_model.measure(config, of_what.streams, target, ragged=of_what.ragged)
    anchors = one_shot.anchors(of_what, model, settings.search.asked_speeds, _CALIBRATED)
    measure_whole = partial(latency_table.measure_models, config, target=target)
    return latency_model.calibrated(model, anchors, measure_whole) if anchors else model


def _ragged(
    sharer: Sharer,
    score: Scorer,
    latency: LatencyModel,
    speed: float,
    sets: dict[int, list[tuple[int, ...]]],
) -> list[Sizes]:
    """Share units out over all layers, and over the fewest that are too slow with all units."""
    parent = latency.parent
    best = [of_depth[0] for _, of_depth in sorted(sets.items()) if of_depth]
    slow = [kept for kept in best if latency.speedup(replace(parent, layers=kept)) < speed]
    found = [
        sizes
        for layers in dict.fromkeys([parent.layers, *slow[:1]])
        for sizes in sharer.find(speed, layers)
    ]
    ranked = sorted(zip(score(found), range(len(found)), strict=True))
    return [found[place] for _, place in ranked[:_RAGGED_OF_A_SPEED]]


def _draw(settings: Settings, questions: Questions, num_windows: int) -> list[Batch]:
    """Draw windows for calibration or comparison."""
    return adjust.draw_windows(
        questions.table,
        models.load_tokenizer(settings.model.name),
        windows.WindowSpec(settings.data.max_length, settings.data.stride),
        num_windows=num_windows,
        seed=settings.seed,
    )


def _task(
    settings: Settings,
    run: RunFolder,
    rule: Halving,
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
        budgets=rule.budgets,
        device=allocate(settings.train, growth(settings)).device,
        num_threads=max(1, int(ray.cluster_resources()["CPU"] / num_concurrent)),
        calibration=_draw(settings, questions, settings.adjust.calibration_windows),
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


def _identity(settings: Settings, target: Target) -> dict[str, Any]:
    """Return, by flag, the settings that trials must share for their scores to be comparable.

    Devices are those that the settings come to here, not `auto` or none.
    """
    free = {"parent", "num_trials", "time_budget_s", "window_budget", "max_concurrent", "searcher"}
    groups = {
        "search": settings.search.model_dump(mode="json", exclude={*free, "space"}),
        "search.space": settings.search.space.model_dump(mode="json"),
        "data": settings.data.model_dump(mode="json"),
        "adjust": settings.adjust.model_dump(
            mode="json",
            include=_OF_CUTS,
        ),
        "train": settings.train.model_dump(mode="json", exclude=_NOT_OF_TRIALS),
        "evaluate": settings.evaluate.model_dump(
            mode="json", exclude={"batch_size", "num_actors", "semantic_model"}
        )
        | {"no_answer_threshold": settings.evaluate.threshold},
    }
    flags = {
        f"--{group}.{name.replace('_', '-')}": value
        for group, values in groups.items()
        for name, value in values.items()
    }
    flags[TARGET] = target.name
    flags["--train.device"] = allocate(settings.train, growth(settings)).device
    flags["--search.searcher"] = "one-shot" if is_one_shot(settings) else "optuna or random"
    return flags | {"--seed": settings.seed, "parent": models.fingerprint(settings.model.name)}
