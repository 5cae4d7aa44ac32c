"""Runs side by side: what was set differently, what they score, how sure the difference is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from qa_lib.errors import ConfigError, DataError
from qa_lib.evaluation import analysis
from qa_lib.reporting import charts, pages
from qa_lib.reporting.content import SCORES, leaves
from qa_lib.reporting.facts import Facts, look_up, read
from qa_lib.reporting.pages.text import figure
from qa_lib.reporting.placing import place
from qa_lib.runs.run_folder import RunFolder

_COSTS = (
    ("speed-up", "speedup"),
    ("windows trained per second", "windows_per_s"),
    ("windows scored per second", "eval_windows_per_s"),
    ("parameters", "num_parameters"),
    ("bytes of weights", "weight_bytes"),
    ("most bytes a worker took, training", "peak_memory_bytes"),
    ("most bytes an actor took, scoring", "eval_peak_memory_bytes"),
    ("questions trained on", "num_train_questions"),
    ("questions scored", "num_questions"),
    ("seconds in all", "seconds"),
)
_MOST_OF_NAME = 120


def compare(names: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Compare runs.

    Args:
        names: Two run folders or more, by path or URL.
        seed: Of the resampling.

    Returns:
        `runs` (Facts), `labels`; `scores` and `costs`: rows of `name`, `path` and `texts`, one for
        each run; `pairs`: of each two runs and score, `first`, `second`, `name` and the fields of
        `scores.Comparison`; `settings`: rows of `name` and `texts` where they differ; `notes`.

    Raises:
        ConfigError: A folder is no run's, or there are fewer than two.
    """
    if len(names) < 2:
        raise ConfigError(
            "Fewer than two runs are named.", 'Name two or more: make compare RUNS="runs/a runs/b".'
        )
    runs = [read(RunFolder(name, "compare")) for name in names]
    labels = _labels(runs)
    pairs, notes = _pairs(runs, labels, seed)
    if len({run.result.get("eval_fingerprint") for run in runs}) > 1:
        notes.append("The runs were not scored on the same questions: see the paired differences.")
    return {
        "runs": runs,
        "labels": labels,
        "scores": _score_rows(runs),
        "costs": _rows(runs, [*_COSTS, *_latencies(runs)]),
        "pairs": pairs,
        "settings": _settings(runs),
        "notes": [*(note for run in runs for note in run.notes), *notes],
    }


def table(comparison: dict[str, Any], width: int = 100) -> str:
    """Return a comparison as text of this width."""
    from rich.console import Console
    from rich.table import Table

    # A label may be a path, and a path may read as markup: /d/[/x], :smile:.
    out = Console(width=width, markup=False, emoji=False, highlight=False, color_system=None)
    labels = comparison["labels"]
    with out.capture() as captured:
        for title, key in ((None, "scores"), (None, "costs"), ("settings that differ", "settings")):
            if not comparison[key]:
                continue
            shown = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
            shown.add_column("")
            for label in labels:
                shown.add_column(label, justify="right", overflow="fold")
            for row in comparison[key]:
                shown.add_row(row["name"], *row["texts"])
            out.print(shown)
        for pair in comparison["pairs"]:
            out.print(_sentence(pair))
        for note in comparison["notes"]:
            out.print(f"note: {note}")
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def write(comparison: dict[str, Any], storage: str) -> str:
    """Write the comparison as a page beside the runs, and return its path or URL.

    Raises:
        ConfigError: The storage cannot be written.
    """
    runs = comparison["runs"]
    names = "-".join(run.name for run in runs)[:_MOST_OF_NAME]
    # Other runs may have these names: the page is that of these folders.
    digest = hashlib.sha256("\n".join(run.path for run in runs).encode()).hexdigest()[:8]
    points = _points(comparison)
    html = pages.render(
        "compare.html",
        scripts=pages.report_scripts(has_charts=bool(points)),
        title=" · ".join(comparison["labels"]),
        chart=charts.intervals(points) if points else None,
        **comparison,
    )
    return place(RunFolder(storage, "compare"), f"compare-{names}-{digest}.html", html)


def _labels(runs: Sequence[Facts]) -> list[str]:
    """Return the runs' names, or where two share one, their paths."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [run.path for run in runs]


def _score_rows(runs: Sequence[Facts]) -> list[dict[str, Any]]:
    rows = _rows(runs, [(name, key) for key, name in SCORES])
    for row in rows:
        ends = [look_up(run.result, f"intervals.{row['path']}") for run in runs]
        row["intervals"] = ends
        row["texts"] = [
            f"{text} ({end[0]:.2f}–{end[1]:.2f})" if end else text
            for text, end in zip(row["texts"], ends, strict=True)
        ]
    return rows


def _rows(runs: Sequence[Facts], wanted: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for name, path in wanted:
        values = [look_up(run.result, path) for run in runs]
        if any(value is not None for value in values):
            texts = [figure(value) for value in values]
            rows.append({"name": name, "path": path, "values": values, "texts": texts})
    return rows


def _latencies(runs: Sequence[Facts]) -> list[tuple[str, str]]:
    """Return the measured latencies; shapes stand in the same order in every run."""
    shapes = max((run.result.get("latencies") or [] for run in runs), key=len)
    return [
        (f"ms, {shape['windows']} × {shape['tokens']} tokens", f"latencies.{index}.child_ms")
        for index, shape in enumerate(shapes)
    ]


def _pairs(
    runs: Sequence[Facts], labels: Sequence[str], seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare each two runs question by question, where both have the scores of each."""
    tables: dict[str, Any] = {}
    notes = []
    for run, label in zip(runs, labels, strict=True):
        if run.scores is None:
            notes.append(
                f"{label} has no scores of each question to pair: `make evaluate` writes them."
            )
        else:
            tables[label] = run.scores
    pairs = []
    for first, second in combinations(tables, 2):
        try:
            found = analysis.compare_tables(tables[first], tables[second], seed=seed)
        except DataError as error:
            notes.append(f"{first} and {second}: {error.problem}")
            continue
        why = analysis.why_no_semantic(tables[first], tables[second])
        if why is not None:
            notes.append(f"{first} and {second}: {why}")
        pairs += [
            {"first": first, "second": second, "name": title, **asdict(found[key])}
            for key, title in SCORES
            if key in found
        ]
    return pairs, notes


def _sentence(pair: dict[str, Any]) -> str:
    return (
        f"{pair['name']}: {pair['second']} is {pair['difference']:+.2f} against {pair['first']}"
        f" (95 %: {pair['low']:+.2f} to {pair['high']:+.2f}, p = {pair['p_value']:.3g}; "
        f"{pair['num_questions']:,} questions of {pair['num_units']:,} {pair['unit']}s)"
    )


def _settings(runs: Sequence[Facts]) -> list[dict[str, Any]]:
    each = [dict(leaves(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for values in each for key in values))
    return [
        {"name": key, "texts": [figure(values.get(key), 4) for values in each]}
        for key in keys
        if any(values.get(key) != each[0].get(key) for values in each)
    ]


def _points(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "run": label,
            "name": row["name"],
            "value": value,
            "low": ends[0] if ends else None,
            "high": ends[1] if ends else None,
        }
        for row in comparison["scores"]
        for label, value, ends in zip(
            comparison["labels"], row["values"], row["intervals"], strict=True
        )
        if value is not None
    ]
