"""What a job does, for Prometheus: Ray's agents export it as `ray_qa_*`, labelled by run.

`cluster/grafana.json` shows these. A value costs some microseconds and goes out with Ray's own
metrics; callers send at most one set a second. Without Ray nothing happens.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.util.metrics import Counter, Gauge

GAUGES = {
    "qa_train_step": "Optimizer steps taken.",
    "qa_train_num_steps": "Optimizer steps of the whole run.",
    "qa_train_loss": "Mean loss of the last step's windows.",
    "qa_train_learning_rate": "Learning rate of the last step.",
    "qa_train_windows_per_s": "Windows per second since the training began.",
    "qa_search_trials": "Trials of a search in a state.",
}
COUNTERS = {
    "qa_train_windows": "Windows trained on, steps that were taken again included.",
    "qa_train_skipped_steps": "Optimizer steps without effect: loss or gradient was not finite.",
}
LABELS = {"qa_search_trials": ("run", "state")}
"""Labels of a metric; the others have `run` alone."""

TRIAL_STATES = ("waiting", "running", "stopped", "finished", "crashed", "parent")


def send(
    run: str, gauges: Mapping[str, float], counters: Mapping[str, float] | None = None
) -> None:
    """Set gauges of a run, and add to its counters.

    Args:
        run: Name of the run's folder.
        gauges: Values by names of `GAUGES`.
        counters: What to add, by names of `COUNTERS`.
    """
    if not _is_connected():
        return
    for name, value in gauges.items():
        _gauge(name).set(value, tags={"run": run})
    for name, value in (counters or {}).items():
        if value:  # Ray refuses to add nothing
            _counter(name).inc(value, tags={"run": run})


def send_trials(run: str, num_trials: Mapping[str, int]) -> None:
    """Set how many trials of a search are in each state of `TRIAL_STATES`; others are none."""
    if not _is_connected():
        return
    for state in TRIAL_STATES:
        tags = {"run": run, "state": state}
        _gauge("qa_search_trials").set(num_trials.get(state, 0), tags=tags)


def _is_connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@cache
def _gauge(name: str) -> Gauge:
    from ray.util.metrics import Gauge

    return Gauge(name, GAUGES[name], LABELS.get(name, ("run",)))


@cache
def _counter(name: str) -> Counter:
    from ray.util.metrics import Counter

    return Counter(name, COUNTERS[name], LABELS.get(name, ("run",)))
