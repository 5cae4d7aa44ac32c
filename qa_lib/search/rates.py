"""Rates of trials of enumerated sizes, and of the chosen model's whole training.

A cut that lost little begins gently, then TPE varies the rates of the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from qa_lib.config import Settings
from qa_lib.search.brackets import Brackets, by_speed
from qa_lib.search.halving import Trial
from qa_lib.search.latency_table import Entry
from qa_lib.search.space import Setting, Space

_NUM_STARTUP = 4  # trials that TPE draws at random before it learns
_RATE = 1e-4  # peak learning rate of a cut whose divergence from the parent is 1, by batches of 8
_BATCH = 8
_MOST_GROWTH = 10.0  # times a trial's windows up to which the rate of a recovery grows: as measured
_RATES = ("learning_rate", "distill_weight")


def of_sizes(entries: Sequence[Entry], space: Space, global_batch: int) -> list[Setting]:
    """Return a setting for each of the sizes that are worth a trial, speeds in turns, best first.

    The learning rate grows with the root of the divergence, which is about how far the logits have
    moved: what is near the parent is thrown off by the rate that brings a distant cut back. Best of
    six rates after 480 windows: 5e-5 or less at a divergence of 0.15, 1e-4 to 2e-4 at 1.7, 2e-4 at
    5; all by batches of 8, with whose root it grows too, as Adam's does (Malladi et al. 2022). The
    teacher's weight is in the middle of its range.
    """
    lowest, highest = space.learning_rate
    rate = _RATE * math.sqrt(global_batch / _BATCH)
    weight = sum(space.distill_weight) / 2
    admitted = [entry for entry in entries if entry.asked and not entry.skipped]
    places: dict[float, int] = {}
    order = []
    for entry in admitted:  # the best of each speed first
        places[entry.asked] = places.get(entry.asked, 0) + 1
        order.append((places[entry.asked], entry.asked, entry))
    order.sort(key=lambda each: each[:2])
    return [
        Setting(
            entry.sizes,
            space.importance[0],
            min(max(rate * math.sqrt(max(entry.divergence or 0.0, 0.0)), lowest), highest),
            weight,
        )
        for *_, entry in order
    ]


def of_recovery(trial: Trial, settings: Settings, num_windows: int) -> float:
    """Return the peak learning rate of the whole training of a trial's model.

    It grows with the root of how many times the trial's windows are trained: what suits a short
    training leaves a long one behind.

    Args:
        trial: A budget may have ended it before the highest rung; one that it ended before any
            training counts as whole.
        settings: `search` has the windows of a whole trial, and the highest rate.
        num_windows: With labels, of an epoch. Questions that the parent alone teaches count as a
            window each, and without a limit as very many.
    """
    train, search = settings.train, settings.search
    more = 0 if train.teacher_only_source is None else train.teacher_only_limit or math.inf
    passes = (num_windows + more) * train.epochs
    if train.max_steps is not None:
        passes = min(passes, train.max_steps * train.global_batch)
    trained = trial.outcomes[-1].num_windows if trial.rung > 0 else search.trial_windows
    times = min(max(passes / trained, 1.0), _MOST_GROWTH)
    rate = trial.setting.learning_rate
    return min(rate * math.sqrt(times), max(search.space.learning_rate[1], rate))


def vary(
    space: Space, rule: Brackets, trials: Sequence[Trial], num_trials: int, seed: int
) -> Setting | None:
    """Return other rates for the best sizes of the speed with the fewest trials.

    TPE learns from all speeds together: from how much more F1 rates gave than those that the same
    sizes began with, on the same rung.

    Args:
        space: Ranges of the rates.
        rule: Which trial of a speed is the best.
        trials: All so far.
        num_trials: Of all speeds, shared out evenly; one more for some where they do not divide.
        seed: Of the draw; the number of trials is added to it.

    Returns:
        None where every speed has its trials, or none is ready.

    Source: Bergstra et al. 2011 (TPE).
    """
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution

    groups = sorted(by_speed(trials).values(), key=len)
    per_speed, left_over = divmod(num_trials, max(1, len(groups)))
    if sum(len(group) > per_speed for group in groups) < left_over:
        per_speed += 1
    ready = [best for group in groups if len(group) < per_speed and (best := rule.best(group))]
    if not ready:
        return None
    distributions: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(*space.learning_rate, log=True),
        "distill_weight": FloatDistribution(*space.distill_weight),
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed * 65_536 + len(trials), n_startup_trials=_NUM_STARTUP
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for setting, gain in _gains(trials):
        study.add_trial(
            optuna.trial.create_trial(
                params={name: getattr(setting, name) for name in _RATES},
                distributions=distributions,
                value=gain,
            )
        )
    rates = study.ask(distributions).params
    setting = ready[0].setting
    return Setting(setting.sizes, setting.importance, **{name: rates[name] for name in _RATES})


def _gains(trials: Sequence[Trial]) -> list[tuple[Setting, float]]:
    """Return F1 on the highest rung, beyond that of the first trial of the same sizes there."""
    first: dict[object, Trial] = {}
    gains = []
    for trial in trials:
        start = first.setdefault(trial.setting.sizes, trial)
        rung = min(trial.rung, start.rung)
        if not trial.is_parent and rung > 0:
            gains.append((trial.setting, trial.outcomes[rung].f1 - start.outcomes[rung].f1))
    return gains
