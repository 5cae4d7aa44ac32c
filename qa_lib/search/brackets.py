"""Halving of sizes that are known before the first trial: one bracket for each speed.

The best sizes of a speed begin together, with rates by rule, and all finish a rung before the
better half goes on. Then other rates are tried for the best of them: they begin at rung 1, where
rates first make a difference.

Source: Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification, figure 3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from qa_lib.adjust import Sizes
from qa_lib.search.halving import Halving, Job, Trial
from qa_lib.search.one_shot import num_sizes

Cohort = tuple[int, list[Trial]]  # a rung, and the trials that are to finish it


class Brackets(Halving):
    """The rungs of a search over enumerated sizes."""

    def share(self, num_trials: int) -> int:
        """Return how many of `num_trials` go on to the next rung: half of them, rounded up."""
        settings = self._settings
        return -(-num_trials // settings.reduction_factor) if settings.halving else num_trials

    def num_trials_per_rung(self, num_trials: int) -> list[int]:
        """Return how many trials finish each rung, if none crashes: at most, of other rates."""
        num_speeds = len(self._settings.asked_speeds)
        of_sizes = super().num_trials_per_rung(num_sizes(self._settings))
        totals = [0] * (self.top + 1)
        for speed in range(num_speeds):  # those that do not divide go to some of the speeds
            num_rates = (num_trials + num_speeds - 1 - speed) // num_speeds - of_sizes[0]
            cohort = of_sizes[-1] + num_rates  # from rung 1 on
            for rung in range(self.top + 1):
                totals[rung] += of_sizes[rung] + min(num_rates, cohort)
                cohort = self.share(cohort) if rung else cohort
        return totals

    def promotion(self, trials: Sequence[Trial], running: Collection[int]) -> Job | None:
        """Return the next rung that is due, or None; arguments as of `Halving.promotion`."""
        for group in by_speed(trials).values():
            for rung, cohort in self._cohorts(group):
                for trial in cohort:
                    if trial.rung < rung and trial.number not in running:
                        return Job(trial.number, trial.rung + 1)
        return None

    def best(self, group: Sequence[Trial]) -> Trial | None:
        """Return the best trial of a speed; None while a rung is due, or if all have crashed."""
        for rung, cohort in self._cohorts(group):
            if any(trial.rung < rung for trial in cohort):
                return None
        done = [trial for trial in _sound(group) if trial.rung == self.top]
        return max(done, key=lambda trial: trial.outcomes[-1].f1, default=None)

    def _cohorts(self, group: Sequence[Trial]) -> Iterator[Cohort]:
        """Yield the cohorts of a speed up to the first that is not finished."""
        seen: set[Sizes] = set()
        sizes: list[Trial] = []
        rates: list[Trial] = []
        for trial in group:
            (rates if trial.setting.sizes in seen else sizes).append(trial)
            seen.add(trial.setting.sizes)
        finalists: list[Trial] = []
        for rung, cohort in self._rungs(_sound(sizes), first=0):
            yield rung, cohort
            if any(trial.rung < rung for trial in cohort):
                return
            finalists = cohort
        if rates:
            yield from self._rungs(_sound([*finalists, *rates]), first=1)

    def _rungs(self, cohort: list[Trial], first: int) -> Iterator[Cohort]:
        """Yield cohorts rung by rung; from `first` on only the better half goes on."""
        for rung in range(self.top + 1):
            yield rung, cohort
            if any(trial.rung < rung for trial in cohort):
                return
            if rung >= first:
                ranked = sorted(cohort, key=lambda trial: -trial.outcomes[rung].f1)
                cohort = ranked[: self.share(len(ranked))]


def by_speed(trials: Sequence[Trial]) -> dict[float, list[Trial]]:
    """Group trials by the speed that their sizes were enumerated for, in order."""
    groups: dict[float, list[Trial]] = {}
    for trial in trials:
        if not trial.is_parent:
            groups.setdefault(trial.asked, []).append(trial)
    return groups


def _sound(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.error is None]
