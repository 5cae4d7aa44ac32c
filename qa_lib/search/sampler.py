"""New settings to try: drawn by Optuna, from what the trials so far have scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from qa_lib.adjust import Sizes
from qa_lib.config import ImportanceMethod
from qa_lib.search.halving import Trial
from qa_lib.search.space import Setting, Space

# With fewer trials on a rung TPE has nothing to learn from, and Optuna draws at random.
_NUM_STARTUP = 6
# TPE can insist on a corner of the space that the latency table rules out: after so many draws the
# nearest open cut is taken.
_NUM_DRAWS = 20
_RECOVERY = ("importance", "learning_rate", "distill_weight")


def sample(
    space: Space,
    admitted: Collection[Sizes],
    trials: Sequence[Trial],
    *,
    objective: str,
    searcher: str,
    seed: int,
) -> Setting:
    """Draw a setting whose sizes are admitted.

    A cut that halving has dropped right after surgery is not drawn again: another learning rate
    would start from the same F1.

    TPE learns from one rung, the highest that enough trials have finished: scores of different
    budgets cannot be compared. For the front it maximises F1 and minimises latency together,
    because any weighting of the two would aim at a single point of the front.

    Every call makes the study anew, so that the same trials and seed give the same setting.

    Args:
        space: Settings to choose from.
        admitted: Sizes that the latency table has not ruled out.
        trials: All so far.
        objective: pareto or f1.
        searcher: optuna or random.
        seed: Of the draw; the number of trials is added to it.

    Source: Bergstra et al. 2011 (TPE); the choice of the rung as Falkner et al. 2018 (BOHB),
    section 3.2.
    """
    import optuna

    grid = _Grid(space)
    distributions = grid.distributions()
    study = _study(objective, searcher, seed * 65_536 + len(trials))
    for trial, f1 in _comparable(trials):
        study.add_trial(
            optuna.trial.create_trial(
                params=grid.parameters(trial.setting),
                distributions=distributions,
                values=[f1, trial.latency_ms] if objective == "pareto" else [f1],
            )
        )
    cuts = _open_cuts(admitted, space.importance, trials)
    for _ in range(_NUM_DRAWS):
        drawn = study.ask(distributions)
        setting = grid.setting(drawn.params)
        if (setting.sizes, setting.importance) in cuts:
            return setting
        study.tell(drawn, state=optuna.trial.TrialState.FAIL)
    sizes, importance = min(cuts, key=lambda cut: (grid.distance(cut[0], setting), cut[1]))
    return replace(setting, sizes=sizes, importance=importance)


def _study(objective: str, searcher: str, seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: Any = (
        optuna.samplers.RandomSampler(seed=seed)
        if searcher == "random"
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=_NUM_STARTUP)
    )
    return optuna.create_study(
        directions=["maximize", "minimize"] if objective == "pareto" else ["maximize"],
        sampler=sampler,
    )


def _open_cuts(
    admitted: Collection[Sizes], importance: Sequence[ImportanceMethod], trials: Sequence[Trial]
) -> set[tuple[Sizes, ImportanceMethod]]:
    """Return the cuts that are new, or that some trial was trained after; all if there are none."""
    every = set(product(admitted, importance))
    scored, trained = (
        {(t.setting.sizes, t.setting.importance) for t in trials if t.rung >= rung}
        for rung in (0, 1)
    )
    return every - (scored - trained) or every


def _comparable(trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """Return the trials of the highest rung that holds enough of them, with their F1 there."""
    sound = [trial for trial in trials if not trial.is_parent and trial.error is None]
    for rung in range(max((trial.rung for trial in sound), default=-1), -1, -1):
        finished = [(t, t.outcomes[rung].f1) for t in sound if t.rung >= rung]
        if len(finished) >= _NUM_STARTUP:
            return finished
    return [(trial, trial.outcomes[0].f1) for trial in sound if trial.outcomes]


class _Grid:
    """The space as Optuna sees it: positions in ascending lists, whose order TPE makes use of."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._layers = sorted({s.layers for s in space.sizes}, key=lambda kept: (len(kept), kept))
        self._hidden = sorted({(s.hidden_size, s.num_heads) for s in space.sizes})
        self._inner = sorted({_inner(s) for s in space.sizes})
        self._sizes = {(s.layers, s.hidden_size, s.num_heads, *_inner(s)): s for s in space.sizes}

    def distributions(self) -> dict[str, Any]:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        space = self._space
        return {
            "layers": IntDistribution(0, len(self._layers) - 1),
            "hidden_size": IntDistribution(0, len(self._hidden) - 1),
            "intermediate_size": IntDistribution(0, len(self._inner) - 1),
            "importance": CategoricalDistribution(space.importance),
            "learning_rate": FloatDistribution(*space.learning_rate, log=True),
            "distill_weight": FloatDistribution(*space.distill_weight),
        }

    def parameters(self, setting: Setting) -> dict[str, Any]:
        """Return a setting as Optuna's parameters."""
        names = ("layers", "hidden_size", "intermediate_size")
        positions = dict(zip(names, self._positions(setting.sizes), strict=True))
        return positions | {name: getattr(setting, name) for name in _RECOVERY}

    def setting(self, parameters: dict[str, Any]) -> Setting:
        """Return the setting of Optuna's parameters."""
        layers = self._layers[parameters["layers"]]
        hidden_size, num_heads = self._hidden[parameters["hidden_size"]]
        inner = self._inner[parameters["intermediate_size"]]
        # The one combination that the space leaves out is the parent's own, which is not ragged.
        parent = Sizes(layers, hidden_size, num_heads, inner[0])
        sizes = self._sizes.get((layers, hidden_size, num_heads, *inner), parent)
        return Setting(sizes, **{name: parameters[name] for name in _RECOVERY})

    def distance(self, sizes: Sizes, setting: Setting) -> tuple[int, tuple[int, ...]]:
        """Return how many positions sizes lie from a setting's, and these, which break ties."""
        there, here = self._positions(sizes), self._positions(setting.sizes)
        return sum(abs(a - b) for a, b in zip(there, here, strict=True)), there

    def _positions(self, sizes: Sizes) -> tuple[int, int, int]:
        return (
            self._layers.index(sizes.layers),
            self._hidden.index((sizes.hidden_size, sizes.num_heads)),
            self._inner.index(_inner(sizes)),
        )


def _inner(sizes: Sizes) -> tuple[int, bool]:
    """Return the intermediate size, and whether the model is ragged."""
    return sizes.intermediate_size, sizes.blocks is not None
