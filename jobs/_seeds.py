"""A job with several seeds, one run after the other in one process: --seeds N."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    from qa_lib.config import Settings

_DECISIVE = ("data", "model", "train", "adjust", "search", "evaluate")  # groups of settings


def settings_of(settings: Settings, job: str) -> list[Settings]:
    """Return the settings of every run: NAME-seed-K, with K from `seed` on.

    A resumed series goes on with the run that was stopped, and starts those after it.

    Raises:
        ConfigError: A name is taken, a series without a name is to be resumed, or a run of the
            series that is done had other settings.
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
        each = run_names.decided(settings.model_copy(update=update), job)
        if each.resume and not run_names.holds_run(each):
            each = each.model_copy(update={"resume": False})
        path = run_names.choose(each, job)
        if each.resume and path is not None and run_names.finished(each) is not None:
            _refuse_others(path, job, each)
        series.append(each)
    return series


def run_all(settings: Settings, job: str, run: Callable[[Settings], dict[str, Any]]) -> str:
    """Run a job with every seed, and return the table of their scores.

    Args:
        settings: With `seeds`.
        job: Name of the job.
        run: Does the work of one run, and returns its result.
    """
    from qa_lib.reporting import seeds
    from qa_lib.runs import run_names

    results: dict[int, dict[str, Any]] = {}
    series = settings_of(settings, job)
    for each in series:
        print(f"seed {each.seed} of {series[0].seed} to {series[-1].seed}: {each.run_name}")
        finished = run_names.finished(each) if each.resume else None
        try:
            results[each.seed] = run(each) if finished is None else finished
        except BaseException:
            name = str(each.run_name).removesuffix(f"-seed-{each.seed}")
            print(
                f"{len(results)} of {len(series)} seeds are done; the same command with "
                f"--run-name {name} --resume goes on with the others",
                file=sys.stderr,
            )
            raise
    return seeds.table(results)


def _refuse_others(path: str, job: str, settings: Settings) -> None:
    """Refuse to count a run that is done among those of other settings."""
    from qa_lib.config.fields import settings_in
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.training.task import MAY_CHANGE

    saved = RunFolder(path, job).read_config()
    harmless = {f"train.{name}" for name in MAY_CHANGE}
    differing = [
        f"{setting.flag} {value(saved)}"
        for setting in settings_in(type(settings))
        if setting.key.partition(".")[0] in _DECISIVE and setting.key not in harmless
        if (value := attrgetter(setting.key))(saved) != value(settings)
    ]
    if differing:
        raise ConfigError(
            f"{path} is done, with other settings: {', '.join(differing)}.",
            "Give the same settings, or choose another --run-name for a series of others.",
        )
