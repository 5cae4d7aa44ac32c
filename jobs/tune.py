"""Search for the smaller model that keeps the most F1 at the lowest latency, and recover it.

    python -m jobs.tune
    python -m jobs.tune --search.parent runs/mine --search.objective f1 --search.min-speedup 2.0
    python -m jobs.tune --search.num-trials 40 --search.time-budget-s 3600

The run folder gets trials.parquet and trials.csv, pareto.png, report.html, plan.json, model/,
predictions.json, result.json and tensorboard/. --resume continues a search that was stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.runs.run_folder import RunFolder


def complete(settings: Settings) -> Settings:
    """Hold training articles out, which trials are scored on, unless the settings do."""
    from qa_lib import search
    from qa_lib.errors import ConfigError

    if settings.adjust.families is not None:
        raise ConfigError(
            "jobs.tune knows the built-in families only: --adjust.families is for jobs.adjust.",
            "Adjust the model with `python -m jobs.adjust`.",
        )
    lowest, highest = settings.search.space.distill_weight
    if settings.train.teacher_only_source is not None and lowest == 0:
        raise ConfigError(
            "--train.teacher-only-source needs a parent whose logits count, and"
            f" --search.space.distill-weight {lowest:g} {highest:g} begins where they do not.",
            "Begin it above 0, or leave the source out.",
        )
    return search.with_holdout(settings)


def describe(settings: Settings) -> dict[str, Any]:
    """Return the search space and the budgets of its rungs."""
    from qa_lib import search
    from qa_lib.serving import onnx

    return search.describe(settings, onnx.as_onnx)


def run(settings: Settings, folder: RunFolder) -> None:
    """Search, and recover the chosen model."""
    from qa_lib import search, training
    from qa_lib.serving import onnx

    training.check_models(settings)
    search.search(settings, folder, onnx.as_onnx)


def summary(result: dict[str, Any], folder: RunFolder) -> str:
    """Return what the search found, and where the chosen model is."""
    from qa_lib import search

    return f"{search.summary(result)}\n{folder.url('model')} is the chosen model"


JOB = Job(
    "tune",
    run,
    describe,
    summary,
    complete,
    scores_answers=True,
    draws_report=True,
    first_groups=("search",),
    first_flags=(
        "search.parent",
        "search.objective",
        "search.min_speedup",
        "search.speeds",
        "search.num_trials",
        "search.time_budget_s",
        "search.max_concurrent",
        "data.holdout_articles",
        "train.epochs",
    ),
)

if __name__ == "__main__":
    JOB.main()
