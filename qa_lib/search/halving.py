"""Asynchronous successive halving: which trial runs which rung next.

Rung 0 trains nothing: it is the F1 right after surgery. Every further rung continues a trial's
training to a larger number of windows.

Right after surgery a model that lost layers has lost nearly all of its F1, and regains it within a
few hundred windows; a model that lost units has not. So rung 0 compares models of one depth: the
best of every depth go on before the second best of any. And the F1 there is that of the cut,
whatever learning rate follows: one setting of every cut goes on before the second of any.

Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qa_lib.adjust import Sizes
from qa_lib.search import pareto
from qa_lib.search.space import Setting

if TYPE_CHECKING:
    from qa_lib.config import SearchSettings


@dataclass(frozen=True)
class Outcome:
    """The outcome of one rung of a trial.

    Attributes:
        f1: On the held-out articles, 0 to 100.
        num_windows: Trained so far, over all rungs.
        seconds: Of this rung.
    """

    f1: float
    num_windows: int
    seconds: float


@dataclass
class Trial:
    """One setting and its outcomes so far.

    Attributes:
        number: From 0, which is the parent itself: scored, never cut.
        setting: What is tried.
        latency_ms: From the latency table.
        speedup: From the latency table, times the parent's speed.
        num_parameters: Of the adjusted model.
        outcomes: Of its rungs, from rung 0.
        error: Why it crashed; None if it did not.
        asked: The speed-up that its sizes were enumerated for; 0 where they were drawn.
        divergence: One-shot, of its sizes; None where they were drawn.
    """

    number: int
    setting: Setting
    latency_ms: float
    speedup: float
    num_parameters: int
    outcomes: list[Outcome] = field(default_factory=list)
    error: str | None = None
    asked: float = 0.0
    divergence: float | None = None

    @property
    def rung(self) -> int:
        """The highest finished rung; -1 before the first."""
        return len(self.outcomes) - 1

    @property
    def is_parent(self) -> bool:
        """Whether this is the parent."""
        return self.number == 0


@dataclass(frozen=True)
class Job:
    """One rung of one trial."""

    number: int
    rung: int


class Halving:
    """The rungs of a search, and the rule that promotes trials to the next one."""

    def __init__(self, settings: SearchSettings, global_batch: int) -> None:
        """Derive the budgets: whole optimizer steps of `global_batch` windows."""
        self._settings = settings
        eta, top = settings.reduction_factor, settings.num_rungs
        shares = [eta**-i for i in reversed(range(top))] if settings.halving else [1.0]
        steps = [max(1, int(settings.trial_windows * share) // global_batch) for share in shares]
        self.budgets = [0, *steps]
        """Optimizer steps that a trial has taken after each rung."""

    @property
    def top(self) -> int:
        """The highest rung."""
        return len(self.budgets) - 1

    def share(self, num_trials: int) -> int:
        """Return how many of `num_trials` go on to the next rung."""
        return num_trials // (self._settings.reduction_factor if self._settings.halving else 1)

    def num_trials_per_rung(self, num_trials: int) -> list[int]:
        """Return how many trials finish each rung, if none crashes."""
        counts = [num_trials]
        while len(counts) <= self.top:
            counts.append(self.share(counts[-1]))
        return counts

    def promotion(self, trials: Sequence[Trial], running: Collection[int]) -> Job | None:
        """Return the highest rung that a trial has earned, or None.

        Of the trials that finished a rung, the best 1 / `reduction_factor` go on; without halving
        all do.

        Args:
            trials: All so far.
            running: Numbers of the trials that run.
        """
        for rung in reversed(range(self.top)):
            done = [t for t in trials if t.rung >= rung and not t.is_parent and t.error is None]
            for trial in self._ranked(done, rung)[: self.share(len(done))]:
                if trial.rung == rung and trial.number not in running:
                    return Job(trial.number, rung + 1)
        return None

    def _ranked(self, trials: list[Trial], rung: int) -> list[Trial]:
        if self._settings.objective == "f1":
            ranked = sorted(trials, key=lambda trial: -trial.outcomes[rung].f1)
        else:
            points = [(trial.outcomes[rung].f1, trial.latency_ms) for trial in trials]
            ranked = [trials[index] for index in pareto.ranking(points)]
        return _first_of_each(ranked) if rung == 0 else ranked


def _first_of_each(ranked: Sequence[Trial]) -> list[Trial]:
    """Order ranked trials by their rank among those of one cut, then of one depth."""
    cuts: Counter[tuple[Sizes, str]] = Counter()
    depths: Counter[int] = Counter()
    places = {}
    for trial in ranked:
        setting = trial.setting
        cut, depth = (setting.sizes, setting.importance), len(setting.sizes.layers)
        places[trial.number] = cuts[cut], depths[depth]
        depths[depth] += not cuts[cut]  # a cut takes one place among those of its depth
        cuts[cut] += 1
    return sorted(ranked, key=lambda trial: places[trial.number])
