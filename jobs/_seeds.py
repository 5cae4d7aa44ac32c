"""A job with several seeds, one run after the other in one process: --seeds N."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    from qa_lib.config import Settings


def settings_of(settings: Settings, job: str) -> list[Settings]:
    """Return the settings of every run: NAME-seed-K, with K from `seed` on.

    A resumed series goes on with the run that was stopped, and starts those after it.

    Raises:
        ConfigError: A name is taken, or a series without a name is to be resumed.
    """
    from qa_lib.runs import run_names

    if settings.resume and settings.run_name is None:
        raise ConfigError(
            "--resume needs the name of the series with --seeds.", "Name it with --run-name."
        )
    name = settings.run_name or run_names.next_free(settings, job)
    series = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        update = {"seed": seed, "seeds": 1, "run_name": f"{name}-seed-{seed}"}
        each = settings.model_copy(update=update)
        if settings.resume and not run_names.holds_run(each):
            each = each.model_copy(update={"resume": False})
        run_names.choose(each, job)
        series.append(each)
    return series


def run_all(settings: Settings, job: str, run: Callable[[Settings], dict[str, object]]) -> str:
    """Run a job with every seed, and return the table of their scores.

    Args:
        settings: With `seeds`.
        job: Name of the job.
        run: Does the work of one run, and returns its result.
    """
    from qa_lib.reporting import seeds
    from qa_lib.runs import run_names

    results = {}
    for each in settings_of(settings, job):
        finished = run_names.finished(each) if each.resume else None
        results[each.seed] = run(each) if finished is None else finished
    return seeds.table(results)
