"""The results of a search: rows of trials, the front, the choice, and what halving was worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lib.runs.run_folder import TRIALS, RunFolder
from qa_lib.search.halving import Halving, Trial
from qa_lib.search.journal import Journal
from qa_lib.search.latency_table import TOLERANCE
from qa_lib.search.pareto import non_dominated

TRIALS_CSV = "trials.csv"


def status_of(trial: Trial, top: int) -> str:
    """Return the state of a trial: parent, waiting, stopped, finished or crashed."""
    if trial.error is not None:
        return "crashed"
    if trial.rung < 0:
        return "waiting"
    if trial.is_parent:
        return "parent"
    return "finished" if trial.rung == top else "stopped"


def rows(
    trials: Sequence[Trial], halving: Halving, measured: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Return a row for each trial: its setting, rung, scores and costs.

    Args:
        trials: All.
        halving: The rungs.
        measured: Milliseconds of whole models, by number of the trial; `latency_ms` comes from the
            latency table.
    """
    measured = measured or {}
    columns = [f"f1_rung_{rung}" for rung in range(len(halving.budgets))]
    on_front = {trial.number for trial in front_of(trials)}
    return [
        {
            "trial": trial.number,
            **trial.setting.row(),
            "rung": trial.rung,
            "num_windows": trial.outcomes[-1].num_windows if trial.outcomes else 0,
            "f1": trial.outcomes[-1].f1 if trial.outcomes else None,
            **{
                name: outcome.f1 if outcome else None
                for name, outcome in zip_longest(columns, trial.outcomes)
            },
            "latency_ms": trial.latency_ms,
            "measured_ms": measured.get(trial.number),
            "speedup": trial.speedup,
            "asked_speedup": trial.asked or None,
            "divergence": trial.divergence,
            "num_parameters": trial.num_parameters,
            "seconds": round(sum(outcome.seconds for outcome in trial.outcomes), 3),
            "status": status_of(trial, halving.top),
            "error": trial.error,
            "on_front": trial.number in on_front,
        }
        for trial in trials
    ]


def write_tables(run: RunFolder, table_rows: list[dict[str, Any]]) -> None:
    """Write trials.parquet and trials.csv."""
    from pyarrow import csv

    table = pa.Table.from_pylist(table_rows)
    run.write_parquet(TRIALS, table)
    kept = [" ".join(map(str, row["kept_layers"])) for row in table_rows]  # CSV holds no lists
    position = table.column_names.index("kept_layers")
    sink = pa.BufferOutputStream()
    csv.write_csv(table.set_column(position, "kept_layers", pa.array(kept)), sink)
    run.write_bytes(TRIALS_CSV, sink.getvalue())


def front_of(trials: Sequence[Trial]) -> list[Trial]:
    """Return the front of the highest rung that any trial has reached, from fast to slow."""
    sound = [t for t in trials if t.outcomes and t.error is None and not t.is_parent]
    top = max((trial.rung for trial in sound), default=0)
    compared = [trial for trial in sound if trial.rung == top]
    points = [(trial.outcomes[-1].f1, trial.latency_ms) for trial in compared]
    return [compared[index] for index in non_dominated(points)]


def best_at(trials: Sequence[Trial], asked: float) -> Trial:
    """Choose the trial of enumerated sizes for a speed: the best F1 on the highest rung.

    Sizes of a higher speed serve too. If no trial has the speed, the fastest is chosen.
    """
    sound = [t for t in trials if t.outcomes and t.error is None and not t.is_parent]
    fast = [trial for trial in sound if trial.asked >= asked]
    if not fast:
        return max(sound, key=lambda trial: trial.speedup)
    return max(fast, key=lambda trial: (trial.rung, trial.outcomes[-1].f1))


def choose(
    front: Sequence[Trial], speedups: Mapping[int, float], min_speedup: float
) -> tuple[Trial, bool]:
    """Choose the trial to recover in full: the best F1 at a speed-up, else the fastest.

    Args:
        front: Trials, not empty.
        speedups: Measured on whole models, by number of the trial.
        min_speedup: Times the parent's speed; the result says whether the trial reaches it, to the
            tolerance of measurements.
    """
    least = min_speedup * (1 - TOLERANCE)
    fast = [trial for trial in front if speedups[trial.number] >= least]
    if fast:
        return max(fast, key=lambda trial: trial.outcomes[-1].f1), True
    return max(front, key=lambda trial: speedups[trial.number]), False


def facts(journal: Journal, halving: Halving, speedups: Mapping[int, float]) -> dict[str, Any]:
    """Return the fields of result.json about the search as a whole."""
    trials = journal.trials
    reasons = Counter(entry.skipped or "admitted" for entry in journal.entries[1:])
    names = dict.fromkeys(("admitted", "too slow", "dominated", *reasons))
    scored = [trial for trial in trials if trial.outcomes and not trial.is_parent]
    windows = sum(trial.outcomes[-1].num_windows for trial in scored)
    per_trial = max(
        (t.outcomes[-1].num_windows for t in scored if t.rung == halving.top), default=0
    )
    full = per_trial * len(scored)
    return {
        "num_trials": len(trials) - 1,
        "num_crashed_trials": sum(trial.error is not None for trial in trials),
        "num_trials_per_rung": [
            sum(trial.rung >= rung for trial in scored) for rung in range(len(halving.budgets))
        ],
        "num_sizes": {name: reasons[name] for name in names},
        "trial_seconds": round(sum(o.seconds for trial in trials for o in trial.outcomes), 2),
        "search_windows": windows,
        "search_windows_full_budgets": full,
        "search_windows_saved": round(1 - windows / full, 4) if full else None,
        "rank_correlations": rank_correlations(scored, halving.top),
        "front": [front_row(trial, speedups[trial.number]) for trial in front_of(trials)],
    }


def front_row(trial: Trial, speedup: float) -> dict[str, Any]:
    """Return what result.json tells of a model of the front."""
    return {
        "trial": trial.number,
        "f1": trial.outcomes[-1].f1,
        "speedup": round(speedup, 4),
        "num_parameters": trial.num_parameters,
        "divergence": trial.divergence,
        **trial.setting.row(),
    }


def rank_correlations(trials: Sequence[Trial], top: int) -> list[dict[str, Any]]:
    """Return Spearman's rank correlation of the F1 of each cheap rung with that of the top rung.

    Where sizes were ranked in one shot, the first row is that of their divergence, `one-shot`.

    Only trials that reached the top have both: with halving these are the better ones, among which
    ranks are harder to tell; `--search.no-halving` gives all.
    """
    complete = [trial for trial in trials if trial.rung == top]
    last = [trial.outcomes[top].f1 for trial in complete]
    cut = [trial for trial in complete if trial.divergence is not None]
    one_shot = {
        "rung": "one-shot",
        "num_trials": len(cut),
        "spearman": spearman(
            [-float(trial.divergence or 0.0) for trial in cut],
            [trial.outcomes[top].f1 for trial in cut],
        ),
    }
    return ([one_shot] if cut else []) + [
        {
            "rung": rung,
            "num_trials": len(complete),
            "spearman": spearman([trial.outcomes[rung].f1 for trial in complete], last),
        }
        for rung in range(top)
    ]


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the rank correlation; None below three values, or where one side is constant."""
    from scipy import stats  # takes a second

    if len(one) < 3 or not (np.ptp(one) and np.ptp(other)):
        return None
    return round(float(stats.spearmanr(one, other).statistic), 4)
