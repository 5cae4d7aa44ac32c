"""Runs side by side: settings that differ, scores, and how certain their difference is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from qa_lib.errors import ConfigError, DataError
from qa_lib.evaluation import analysis
from qa_lib.reporting import charts, pages
from qa_lib.reporting.content import COSTS, SCORES, leaves
from qa_lib.reporting.facts import Facts, look_up, read
from qa_lib.reporting.pages.text import figure, num_bytes
from qa_lib.runs import result
from qa_lib.runs.run_folder import RunFolder

_MAX_NAME_BYTES = 120  # of the runs' names in a page's; disks allow 255 in all
_TITLES = result.labels("train")


def compare(names: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Compare runs.

    Args:
        names: Two run folders or more, by path or URL.
        seed: Of the resampling.

    Returns:
        `runs` (Facts) and their `labels`; `scores` and `costs`: rows of `name`, `path` and `texts`,
        one for each run; `pairs`: for every two runs and score, `first`, `second`, `name` and the
        fields of `analysis.Comparison`; `settings`: rows of `name` and `texts` where they differ;
        `notes`.

    Raises:
        ConfigError: A folder is not a run's, or there are fewer than two.
    """
    if len(names) < 2:
        raise ConfigError(
            "Fewer than two runs are named.", 'Name two or more: make compare RUNS="runs/a runs/b".'
        )
    runs = [read(RunFolder(name, "compare")) for name in names]
    short = [run.name for run in runs]
    labels = short if len(set(short)) == len(short) else [run.path for run in runs]
    pairs, notes = _pairs(runs, labels, seed)
    if len({run.result.get("eval_fingerprint") for run in runs if "f1" in run.result}) > 1:
        where = ": see the paired differences" if pairs else ""
        notes.append(f"The runs were scored on different questions{where}.")
    return {
        "runs": runs,
        "labels": labels,
        "scores": _score_rows(runs),
        "costs": _rows(runs, {name: _TITLES[name] for name in COSTS} | _latencies(runs)),
        "pairs": pairs,
        "settings": _settings(runs),
        "notes": [
            *filter(None, map(_unfinished, runs, labels)),
            *(note for run in runs for note in run.notes),
            *notes,
        ],
    }


def table(comparison: dict[str, Any], width: int = 100) -> str:
    """Return a comparison as text of this width."""
    from rich.console import Console
    from rich.table import Table

    # A label may be a path, and a path may read as markup: /d/[/x], :smile:.
    out = Console(width=width, markup=False, emoji=False, highlight=False, color_system=None)
    with out.capture() as captured:
        for title, key in ((None, "scores"), (None, "costs"), ("settings that differ", "settings")):
            if not comparison[key]:
                continue
            shown = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
            shown.add_column("")
            for label in comparison["labels"]:
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
    """Write the comparison as a page into the storage, and return its path or URL.

    Raises:
        ConfigError: The storage cannot be written.
    """
    runs = comparison["runs"]
    names = "-".join(run.name for run in runs).encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    # Other runs may have the same names, so the page's name depends on the paths.
    digest = hashlib.sha256("\n".join(run.path for run in runs).encode()).hexdigest()[:8]
    scores = comparison["scores"]
    html = pages.render(
        "compare.html",
        scripts=pages.report_scripts(has_charts=bool(scores)),
        title=" · ".join(comparison["labels"]),
        chart=charts.intervals(comparison["labels"], scores) if scores else None,
        **comparison,
    )
    return pages.write(RunFolder(storage, "compare"), f"compare-{names}-{digest}.html", html)


def _unfinished(run: Facts, label: str) -> str:
    """Say that a run is not done, with its error; nothing of one that is."""
    status = run.result.get("status")
    ended = {"failed": "failed", "interrupted": "was interrupted", "running": "is not done yet"}
    if status not in ended or run.is_lost:  # which its notes say
        return ""
    error = f" ({run.result['error'].rstrip('.')})" if run.result.get("error") else ""
    return f"{label} {ended[status]}{error}: its figures are not final."


def _score_rows(runs: Sequence[Facts]) -> list[dict[str, Any]]:
    rows = _rows(runs, SCORES)
    for row in rows:
        row["intervals"] = [look_up(run.result, f"intervals.{row['path']}") for run in runs]
        row["texts"] = [
            f"{text} ({ends[0]:.2f}–{ends[1]:.2f})" if ends else text
            for text, ends in zip(row["texts"], row["intervals"], strict=True)
        ]
    return rows


def _comparable(run: Facts) -> dict[str, Any]:
    """Return result.json with what runs have in common under one name.

    An evaluation's speed is where jobs that also train have theirs, and the milliseconds of a pass
    are named by its shape.
    """
    fields = dict(run.result)
    if run.job == "evaluate" and "windows_per_s" in fields:
        fields["eval_windows_per_s"] = fields.pop("windows_per_s")
    return fields | {"child_ms": _passes(run)}


def _passes(run: Facts) -> dict[str, float]:
    """Return the milliseconds of a pass by its shape; the first where one was measured again.

    A model with fewer positions than a shape has tokens is measured at as many as it has.
    """
    found: dict[str, float] = {}
    for one in run.result.get("latencies") or []:
        if "child_ms" in one:  # else of an export
            found.setdefault(f"{one['windows']} × {one['tokens']} tokens", one["child_ms"])
    return found


def _rows(runs: Sequence[Facts], names: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each field, by its path, that some run has."""
    rows = []
    for path, name in names.items():
        values = [look_up(_comparable(run), path) for run in runs]
        if any(value is not None for value in values):
            as_text = num_bytes if path.endswith("_bytes") else figure
            texts = [as_text(value) for value in values]
            rows.append({"name": name, "path": path, "values": values, "texts": texts})
    return rows


def _latencies(runs: Sequence[Facts]) -> dict[str, str]:
    """Name the measured latencies by path, those of shapes that all runs with any measured."""
    first, *others = [passes for run in runs if (passes := _passes(run))] or [{}]
    # Of slow models a pass has fewer windows.
    common = [shape for shape in first if all(shape in passes for passes in others)]
    return {f"child_ms.{shape}": f"ms, {shape}" for shape in common}


def _pairs(
    runs: Sequence[Facts], labels: Sequence[str], seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare every two runs question by question; return the differences, and notes."""
    tables = {
        label: run.scores for run, label in zip(runs, labels, strict=True) if run.scores is not None
    }
    remedies = {
        label: ": `make evaluate` writes them" if run.result.get("status") in ("done", None) else ""
        for run, label in zip(runs, labels, strict=True)
    }
    notes = [
        f"{label} has no scores of single questions to pair{remedy}."
        for label, remedy in remedies.items()
        if label not in tables
    ]
    pairs = []
    for first, second in combinations(tables, 2):
        try:
            differences = analysis.compare_tables(tables[first], tables[second], seed=seed)
        except DataError as error:
            notes.append(f"{first} and {second}: {error.problem}")
            continue
        notes += [
            f"{first} and {second}: {reason}"
            for why in (analysis.why_fewer, analysis.why_no_semantic)
            if (reason := why(tables[first], tables[second]))
        ]
        pairs += [
            {"first": first, "second": second, "name": title, **asdict(differences[key])}
            for key, title in SCORES.items()
            if key in differences
        ]
    return pairs, notes


def _sentence(pair: dict[str, Any]) -> str:
    return (
        f"{pair['name']}: {pair['second']} is {pair['difference']:+.2f} against {pair['first']}"
        f" (95 %: {pair['low']:+.2f} to {pair['high']:+.2f}, p = {pair['p_value']:.3g}; "
        f"{pair['num_questions']:,} questions of {pair['num_units']:,} {pair['unit']}s)"
    )


def _settings(runs: Sequence[Facts]) -> list[dict[str, Any]]:
    configs = [dict(leaves(run.config)) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        {"name": key, "texts": [figure(config.get(key), 4) for config in configs]}
        for key in keys
        if any(config.get(key) != configs[0].get(key) for config in configs)
    ]
