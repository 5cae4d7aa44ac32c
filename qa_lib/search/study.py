"""The trials as a study of Optuna's, for its dashboard.

pip install optuna-dashboard
optuna-dashboard runs/NAME/optuna.log
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.runs.run_folder import RunFolder
from qa_lib.search.halving import Trial

if TYPE_CHECKING:
    import optuna

STUDY = "optuna.log"


def write(run: RunFolder, trials: Sequence[Trial], top: int) -> None:
    """Write optuna.log, a journal storage with one study of two objectives: F1, latency in ms.

    Args:
        run: The run folder.
        trials: All; the parent is left out.
        top: The highest rung: trials that ended below it are pruned ones.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="qa-study-") as folder:
        path = Path(folder) / STUDY
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name=run.name,
            directions=["maximize", "minimize"],
        )
        told = [trial for trial in trials if not trial.is_parent]
        for trial in told:
            study.add_trial(_frozen(trial, told, top))
        run.write_bytes(STUDY, path.read_bytes())


def _frozen(trial: Trial, trials: Sequence[Trial], top: int) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    names = [name for name in trial.setting.row() if name != "kept_layers"]
    state = TrialState.COMPLETE if trial.rung == top else TrialState.PRUNED
    if trial.error is not None or not trial.outcomes:
        state = TrialState.FAIL
    return create_trial(
        state=state,
        values=[trial.outcomes[-1].f1, trial.latency_ms] if state == TrialState.COMPLETE else None,
        params={name: trial.setting.row()[name] for name in names},
        distributions={
            name: _distribution([each.setting.row()[name] for each in trials]) for name in names
        },
        user_attrs={
            "kept_layers": list(trial.setting.sizes.layers),
            "speedup": trial.speedup,
            "divergence": trial.divergence,
            "f1_by_rung": [outcome.f1 for outcome in trial.outcomes],
            "error": trial.error,
        },
    )


def _distribution(values: Sequence[Any]) -> optuna.distributions.BaseDistribution:
    """Return a distribution that can have drawn these values."""
    from optuna import distributions

    if isinstance(values[0], float):
        return distributions.FloatDistribution(min(values), max(values))
    if isinstance(values[0], int) and not isinstance(values[0], bool):
        return distributions.IntDistribution(min(values), max(values))
    return distributions.CategoricalDistribution(list(dict.fromkeys(values)))
