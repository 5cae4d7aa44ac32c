"""The models of the speeds asked for: chosen, fitted to their speed, recovered in full."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qa_lib import models
from qa_lib.adjust import Plan, SharedCalibration, Sizes, cost
from qa_lib.config import ImportanceMethod
from qa_lib.runs import storage
from qa_lib.runs.result import Searched
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import results, speed
from qa_lib.search.final import recover_chosen, recover_once
from qa_lib.search.halving import Trial
from qa_lib.search.journal import Journal
from qa_lib.search.space import Choices, Setting
from qa_lib.search.speed import Speedup
from qa_lib.search.target import Target
from qa_lib.search.trial_worker import TrialTask, make_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedModel

FOLDER = "front"


@dataclass(frozen=True)
class Pick:
    """The model for a speed.

    Attributes:
        asked: The speed-up asked for.
        trial: Number of the trial that it comes from.
        sizes: The trial's, with the width that has the speed.
        speedup: Measured.
    """

    asked: float
    trial: int
    sizes: Sizes
    speedup: Speedup

    @property
    def reaches(self) -> bool:
        """Whether it has the speed."""
        return self.speedup.meets(self.asked)


def fitted(
    task: TrialTask,
    journal: Journal,
    choices: Choices,
    config: Any,
    target: Target,
    speedups: Mapping[int, float],
) -> list[Pick]:
    """Choose a trial for every speed that is recovered, and fit its sizes to the speed.

    Args:
        task: What the trials shared.
        journal: Has the trials; keeps what is fitted.
        choices: Widths that are possible.
        config: The parent's configuration.
        target: What speeds are measured on.
        speedups: By number of the trial, of whole models, where they are known.

    Returns:
        The chosen model first. A speed that no trial has gets the fastest.
    """
    latency = journal.latency
    assert latency is not None, "recorded before the first trial"
    picks = []
    for asked in task.settings.search.recovered_speeds:
        trial = results.best_at(journal.trials, asked)
        if journal.fitted.get(asked, (None,))[0] != trial.number:
            sizes, found = speed.fit(
                trial.setting.sizes,
                asked,
                latency,
                choices,
                partial(speed.measure_speedup, config, target),
                speedups.get(trial.number),
            )
            journal.fit(asked, trial.number, sizes, [found.value, found.low, found.high])
        number, sizes, values = journal.fitted[asked]
        picks.append(Pick(asked, number, sizes, Speedup(*values)))
    return picks


def recover(
    task: TrialTask, run: RunFolder, journal: Journal, picks: Sequence[Pick], config: Any
) -> None:
    """Distil the parent into every pick with the recipe's whole training, and evaluate each.

    The first goes into the run's own `model/`, the others into runs of their own in `front/`; those
    that are done are not repeated.
    """
    rows = run.read_result()["front"]
    recovered: dict[float, dict[str, Any]] = {}
    plans = _Plans(task, journal)
    for number, pick in enumerate(picks):
        if number:
            recovered[pick.asked] = _recovered_beside(task, run, journal, plans, pick)
        else:
            again = partial(plans.recover, run, pick)
            recover_once(run, journal, pick.asked, pick.trial, task.settings, again)
            f1 = run.read_result().get("f1")
            recovered[pick.asked] = {"f1_recovered": f1, "model": run.url("model")}
        told = told_of(rows, picks, journal.trials, recovered, config)
        run.write_result(Searched(front=told), status="running")


def facts(pick: Pick) -> dict[str, Any]:
    """Return the fields of result.json about the speed of the chosen model."""
    return {
        "asked_speedup": pick.asked,
        "speedup_measured": pick.speedup.value,
        "speedup_interval": [pick.speedup.low, pick.speedup.high],
    }


class _Plans:
    """Makes the plans of picks: the parent is loaded and calibrated at most once."""

    def __init__(self, task: TrialTask, journal: Journal) -> None:
        self.task, self._journal = task, journal
        self._shared: dict[ImportanceMethod, SharedCalibration] = {}
        self._parent: PreTrainedModel | None = None

    def recover(self, run: RunFolder, pick: Pick) -> None:
        """Recover a pick in a run."""
        trial = self._journal.trials[pick.trial]
        recover_chosen(self.task, run, partial(self._of, pick, trial.setting), trial)

    def _of(self, pick: Pick, setting: Setting) -> Plan:
        task = self.task
        if pick.sizes == setting.sizes:
            return Plan.read(task.folder(pick.trial))
        if self._parent is None:
            self._parent = models.load(task.settings.model.name, seed=task.settings.seed)
        wanted = replace(setting, sizes=pick.sizes)
        return make_plan(task, self._parent, wanted, self._shared)


def _recovered_beside(
    task: TrialTask, run: RunFolder, journal: Journal, plans: _Plans, pick: Pick
) -> dict[str, Any]:
    """Recover a pick in a run of its own; return its F1 and where its model is."""
    folder, name = run.url(FOLDER), f"{pick.asked:g}x"
    own = RunFolder(storage.join(folder, name), "adjust")
    status = own.read_result().get("status")
    begun, *_ = journal.recoveries.get(pick.asked, (None,))
    is_same = status is not None and begun == pick.trial
    update: dict[str, Any] = {"storage": folder, "run_name": name, "resume": is_same}
    update["overwrite"] = status is not None and not is_same

    def recover() -> None:
        with RunFolder.open(task.settings.model_copy(update=update), "adjust") as opened:
            opened.tracker = run.tracker.child(f"{FOLDER}-{name}", {})
            opened.begin()
            plans.recover(opened, pick)

    recover_once(own, journal, pick.asked, pick.trial, task.settings, recover)
    return {"f1_recovered": own.read_result().get("f1"), "model": own.url("model")}


def told_of(
    rows: Sequence[dict[str, Any]],
    picks: Sequence[Pick],
    trials: Sequence[Trial],
    recovered: Mapping[float, dict[str, Any]],
    config: Any,
) -> list[dict[str, Any]]:
    """Return the rows of the front with what is known of the picks; fast models first.

    Args:
        rows: Of the trials on the front.
        picks: Their sizes, as fitted, take the place of their trials'; the F1 held out is the
            trial's.
        trials: By number.
        recovered: By speed asked for, what a recovery adds.
        config: The parent's configuration.
    """
    chosen = {pick.trial for pick in picks}
    told = [row for row in rows if row["trial"] not in chosen]
    for pick in picks:
        trial = trials[pick.trial]
        fitted_trial = replace(
            trial,
            setting=replace(trial.setting, sizes=pick.sizes),
            num_parameters=cost.num_parameters(pick.sizes.apply(config)),
        )
        row = results.front_row(fitted_trial, pick.speedup.value)
        told.append({**row, **facts(pick), **recovered.get(pick.asked, {})})
    return sorted(told, key=lambda row: -row["speedup"])
