"""What a search finds, beside scaling by hand and beside chance.

    python -m benchmarks.search --recipe squad-cpu --search.parent runs/parent

For each speed-up (1.5 and 2 times the parent's): the search's choice; all widths scaled by one
factor until that speed is measured; and the choice of a random search without halving, which may
train as many windows as the search did. Every choice gets the recipe's whole training and is scored
on one seeded sample of the evaluation questions (2,000 unless --data.eval-limit says otherwise).
Every row is a run in a folder of --storage; rows that are done are read and not run again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from benchmarks.adjustment import once
from jobs import _entry

FLAGS = ["--data.eval-limit", "2000", "--search.objective", "f1"]
FLAGS += ["--search.num-trials", "12", "--search.trial-windows", "1600"]
SPEEDUPS = (2.0, 1.5)


def main() -> None:
    """Run what is missing, and print the tables."""
    _entry.quiet_libraries()
    from qa_lib import config, search

    settings = search.with_holdout(config.parse("tune", [*FLAGS, *sys.argv[1:]]))
    if settings.search.parent is None:
        sys.exit("error: give --search.parent, a run that held articles out")
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for speedup in SPEEDUPS:
        found["search", speedup] = searched(settings, speedup)
        found["scaled by hand", speedup] = scaled(settings, speedup)
        budget = found["search", speedup]["search_windows"]
        found["random search", speedup] = searched(settings, speedup, window_budget=budget)
    print(table(found))
    print(economy(found))


def searched(settings: Any, speedup: float, *, window_budget: int | None = None) -> dict[str, Any]:
    """Return the result of a search at a speed-up; by chance where it has a budget of windows."""
    from qa_lib import search

    changes: dict[str, Any] = {"min_speedup": speedup}
    if window_budget is not None:
        changes |= {"searcher": "random", "halving": False, "window_budget": window_budget}
    name = f"search-{'random' if window_budget else 'halving'}-{speedup:g}"
    asked = settings.search.model_copy(update=changes)
    named = settings.model_copy(update={"run_name": name, "search": asked})
    return once(named, "tune", search.search)


def scaled(settings: Any, speedup: float) -> dict[str, Any]:
    """Return the result of one factor for all widths, the largest that reaches a speed-up."""
    from qa_lib import models
    from qa_lib.adjust import pipeline

    parent = settings.search.parent
    sizes = largest_scale(models.load_config(parent), speedup)
    wish = settings.adjust.model_copy(
        update={
            "hidden_size": sizes.hidden_size,
            "intermediate_size": sizes.intermediate_size,
            "recover": True,
        }
    )
    changes = {
        "run_name": f"search-scaled-{speedup:g}",
        "adjust": wish,
        "model": settings.model.model_copy(update={"name": parent}),
    }
    return once(settings.model_copy(update=changes), "adjust", pipeline.adjust_and_recover)


def largest_scale(config: Any, speedup: float) -> Any:
    """Return the largest uniformly scaled sizes that reach a speed-up, measured in turns.

    The hidden size falls by whole heads, and the intermediate size with it; the layers stay.
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


def table(found: dict[tuple[str, float], dict[str, Any]]) -> str:
    """Return the table of choices in Markdown."""
    lines = [
        "| at least | chosen by | layers | hidden | intermediate | speed-up | parameters | F1 |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for (way, speedup), result in sorted(found.items(), key=lambda item: -item[0][1]):
        lines.append(
            f"| {speedup:g}x | {way} | {len(result['kept_layers'])} | {result['hidden_size']} |"
            f" {result['intermediate_size']} | {result['speedup']:.2f} |"
            f" {result['num_parameters']:,} | {result['f1']:.2f} |"
        )
    return "\n".join(lines)


def economy(found: dict[tuple[str, float], dict[str, Any]]) -> str:
    """Return the table of what each search trained, what halving saved, and what rungs foretold."""
    lines = [
        "",
        "| search | at least | trials per rung | windows | all in full | minutes of trials |",
    ]
    lines[-1] += " rank correlations with the top rung |"
    lines.append("|---|---|---|---|---|---|---|")
    for (way, speedup), result in found.items():
        if "search_windows" not in result:
            continue
        told = [
            f"rung {each['rung']}: {each['spearman']} ({each['num_trials']} trials)"
            for each in result["rank_correlations"]
        ]
        lines.append(
            f"| {way} | {speedup:g}x | {result['num_trials_per_rung']} |"
            f" {result['search_windows']:,} | {result['search_windows_full_budgets']:,} |"
            f" {result['trial_seconds'] / 60:.1f} | {'; '.join(told)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
