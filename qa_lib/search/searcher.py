"""Both ends of Tune: the searcher that suggests the next rung, the callback that records it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from qa_lib.config import SearchSettings
from qa_lib.search.display import Display
from qa_lib.search.halving import Halving, Job, Outcome
from qa_lib.search.journal import Journal
from qa_lib.search.space import Setting


class RungSearcher(Searcher):
    """A Tune searcher that suggests rungs.

    To Tune every rung is a short, complete trial: a failure repeats one rung, and no paused trial
    holds an actor or is lost by a restore.
    """

    def __init__(
        self,
        journal: Journal,
        halving: Halving,
        sample: Callable[[], Setting | None],
        settings: SearchSettings,
        global_batch: int,
    ) -> None:
        """Continue where the journal stands.

        Args:
            journal: Trials so far, the parent as the first.
            halving: Decides which trials go on.
            sample: Draws a new setting; None while there is none to try.
            settings: Number of trials, budgets of windows and time; the time starts now.
            global_batch: Windows per optimizer step.
        """
        super().__init__(metric="f1", mode="max")
        self._journal, self._halving, self._sample = journal, halving, sample
        self._settings, self._global_batch = settings, global_batch
        self._deadline_s = time.monotonic() + (settings.time_budget_s or float("inf"))
        self._running: dict[str, Job] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next rung's configuration; None to wait for one that runs."""
        job = self._next()
        if job is None:
            return None if self._running else Searcher.FINISHED
        self._running[trial_id] = job
        setting = self._journal.trials[job.number].setting
        return vars(job) | {"setting": setting.to_dict()}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Forget a rung that has ended; the recorder has written down how."""
        self._running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: a resumed search reads the journal."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a resumed search reads the journal."""

    def _next(self) -> Job | None:
        trials = self._journal.trials
        if time.monotonic() > self._deadline_s:
            return None
        running = {job.number for job in self._running.values()}
        for trial in trials:
            if trial.rung < 0 and trial.error is None and trial.number not in running:
                return Job(trial.number, 0)
        job = self._halving.promotion(trials, running)
        if job is not None:
            return job if self._affordable(job) else None
        if len(trials) > self._settings.num_trials:
            return None
        setting = self._sample()
        return None if setting is None else Job(self._journal.proposed(setting).number, 0)

    def _affordable(self, job: Job) -> bool:
        budget = self._settings.window_budget
        if budget is None:
            return True
        rungs = [(trial.number, trial.rung) for trial in self._journal.trials if trial.rung > 0]
        reached = dict(rungs) | {j.number: j.rung for j in self._running.values()}
        reached[job.number] = job.rung
        steps = sum(self._halving.budgets[rung] for rung in reached.values())
        return steps * self._global_batch <= budget


class Recorder(tune.Callback):
    """Writes Tune's events to the journal and the display."""

    def __init__(self, journal: Journal, display: Display) -> None:
        """Take the journal, and the display of its trials."""
        self._journal, self._display = journal, display

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Show that a rung has begun."""
        self._display.started(self._journal.trials[trial.config["number"]])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Record a rung that has finished."""
        number, rung = trial.config["number"], trial.config["rung"]
        outcome = Outcome(result["f1"], result["num_windows"], result["seconds"])
        self._journal.finished(number, rung, outcome)
        self._display.ended(self._journal.trials[number])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Record why a trial has crashed, once its retry has crashed too."""
        number = trial.config["number"]
        self._journal.crashed(number, _reason(trial))
        self._display.ended(self._journal.trials[number])


def _reason(trial: Any) -> str:
    """Return one line on why a Tune trial failed: the cause itself, not Ray's wrapping."""
    path = trial.error_file  # the only place that has the error by now
    if path is None or not Path(path).is_file():
        return "unknown: see Ray's logs"
    # Every failure is a heading and a traceback; the pickle beside it is not opened.
    text = Path(path).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    line = (errors or lines or [""])[-1 if errors else 0].strip()
    name, separator, message = line.partition(": ")
    return f"{name.rpartition('.')[2]}{separator}{message}"[:300]
