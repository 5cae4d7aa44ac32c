"""The search against uniform scaling by hand and against random search.

    python -m benchmarks.search --recipe squad-cpu --search.parent runs/parent

For speed-ups of 1.5 and 2: the search's choice; all widths scaled by one factor until the speed is
measured; and the choice of a random search without halving that trains as many windows as the
search. Every choice gets the recipe's whole training and is scored on one seeded sample of the
evaluation questions (2,000, or --data.eval-limit). Every row is a run folder in --storage; finished
ones are read, not run again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from benchmarks.adjustment import once
from jobs import _runner

FLAGS = ["--data.eval-limit", "2000", "--search.objective", "f1"]
FLAGS += ["--search.num-trials", "12", "--search.trial-windows", "1600"]
SPEEDUPS = (2.0, 1.5)


def main() -> None:
    """Run what is missing, and print the tables."""
    _runner.quiet_libraries()
    from qa_lib import config, search

    settings = search.with_holdout(config.parse("tune", [*FLAGS, *sys.argv[1:]]))
    if settings.search.parent is None:
        sys.exit("error: give --search.parent, a run that held articles out")
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for speedup in SPEEDUPS:
        rows["search", speedup] = searched(settings, speedup)
        rows["scaled by hand", speedup] = scaled(settings, speedup)
        budget = rows["search", speedup]["search_windows"]
        rows["random search", speedup] = searched(settings, speedup, window_budget=budget)
    print(table(rows))
    print(economy(rows))


def searched(settings: Any, speedup: float, *, window_budget: int | None = None) -> dict[str, Any]:
    """Return the result of a search at a speed-up; of a random one if it has a window budget."""
    from qa_lib import search

    changes: dict[str, Any] = {"min_speedup": speedup}
    if window_budget is not None:
        changes |= {"searcher": "random", "halving": False, "window_budget": window_budget}
    name = f"search-{'random' if window_budget else 'halving'}-{speedup:g}"
    changed = settings.search.model_copy(update=changes)
    named = settings.model_copy(update={"run_name": name, "search": changed})
    return once(named, "tune", search.search)


def scaled(settings: Any, speedup: float) -> dict[str, Any]:
    """Return the result of scaling all widths by the largest factor that reaches a speed-up."""
    from qa_lib import models
    from qa_lib.adjust import pipeline

    parent = settings.search.parent
    sizes = largest_scale(models.load_config(parent), speedup)
    adjust = settings.adjust.model_copy(
        update={
            "hidden_size": sizes.hidden_size,
            "intermediate_size": sizes.intermediate_size,
            "recover": True,
        }
    )
    changes = {
        "run_name": f"search-scaled-{speedup:g}",
        "adjust": adjust,
        "model": settings.model.model_copy(update={"name": parent}),
    }
    return once(settings.model_copy(update=changes), "adjust", pipeline.adjust_and_recover)


def largest_scale(config: Any, speedup: float) -> Any:
    """Return the largest uniformly scaled sizes that reach a speed-up, measured in turns.

    The hidden size shrinks by whole heads, the intermediate size with it; layers stay.
    """
    from transformers import AutoModelForQuestionAnswering

    from qa_lib.adjust import Sizes
    from qa_lib.models.latency import measure_latency

    whole = Sizes.of(config)
    ladder = {
        str(heads): replace(
            whole,
            num_heads=heads,
            hidden_size=whole.head_size * heads,
            intermediate_size=whole.intermediate_size * heads // whole.num_heads,
        )
        for heads in range(whole.num_heads, whole.num_heads // 3, -1)
    }
    seconds = measure_latency(
        {
            name: AutoModelForQuestionAnswering.from_config(sizes.apply(config)).eval()
            for name, sizes in ladder.items()
        }
    )
    most = next(iter(seconds.values())) / speedup
    return next(sizes for name, sizes in ladder.items() if seconds[name] <= most)


def table(rows: dict[tuple[str, float], dict[str, Any]]) -> str:
    """Return the table of choices in Markdown."""
    lines = [
        "| at least | chosen by | layers | hidden | intermediate | speed-up | parameters | F1 |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for (way, speedup), result in sorted(rows.items(), key=lambda item: -item[0][1]):
        lines.append(
            f"| {speedup:g}x | {way} | {len(result['kept_layers'])} | {result['hidden_size']} |"
            f" {result['intermediate_size']} | {result['speedup']:.2f} |"
            f" {result['num_parameters']:,} | {result['f1']:.2f} |"
        )
    return "\n".join(lines)


def economy(rows: dict[tuple[str, float], dict[str, Any]]) -> str:
    """Return the table of windows trained, windows saved, and how well cheap rungs predict."""
    lines = [
        "",
        "| search | at least | trials per rung | windows | all in full | minutes of trials |",
    ]
    lines[-1] += " rank correlations with the top rung |"
    lines.append("|---|---|---|---|---|---|---|")
    for (way, speedup), result in rows.items():
        if "search_windows" not in result:
            continue
        correlations = [
            f"rung {row['rung']}: {row['spearman']} ({row['num_trials']} trials)"
            for row in result["rank_correlations"]
        ]
        lines.append(
            f"| {way} | {speedup:g}x | {result['num_trials_per_rung']} |"
            f" {result['search_windows']:,} | {result['search_windows_full_budgets']:,} |"
            f" {result['trial_seconds'] / 60:.1f} | {'; '.join(correlations)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
