"""The rows and tables of `benchmarks.search`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

KINDS = ("front", "single", "random", "scaled", "hand", "ragged", "ranks")
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t at 97.5 %, by number of values
HEADS = {
    "models": "| at | chosen by | layers | hidden | intermediate | speed-up | parameters | F1 |",
    "ahead": "| at | the search is ahead of | F1 points |",
    "speeds": "| asked | measured | lowest and highest of six builds | again, by the recovery |",
    "costs": "| search | at | sizes cut | trials per rung | windows | processor minutes"
    " | rank correlations |",
}


@dataclass(frozen=True)
class Row:
    """A model of the tables, or one search.

    Attributes:
        kind: One of `KINDS`.
        way: How it was found.
        speed: Asked for; 0 for the front.
        seed: Of the search and the recovery.
        is_cut: Whether it is compared before any recovery.
    """

    kind: str
    way: str
    speed: float
    seed: int = 0
    is_cut: bool = False

    @property
    def run_name(self) -> str:
        """Name of the run folder."""
        way = "".join(each if each.isalnum() else "-" for each in self.way)
        stage = "cut" if self.is_cut else "search"
        return f"{stage}-{way}-{self.speed:g}x-seed{self.seed}".replace("--", "-")


def tables(results: dict[Row, dict[str, Any]]) -> str:
    """Return all tables that the results fill, in Markdown."""
    every = (table(results), ahead(results), asked(results), costs(results))
    return "\n\n".join(filter(None, every)) + "\n"


def best_by_hand(results: dict[Row, dict[str, Any]], speed: float, seed: int) -> str | None:
    """Return the choice by hand with the best F1 at a speed and seed; None where there is none."""
    found = {
        row.way: result["f1"]
        for row, result in results.items()
        if (row.kind, row.speed, row.seed) == ("hand", speed, seed)
    }
    return max(found, key=lambda way: found[way], default=None)


def models_of(results: dict[Row, dict[str, Any]]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield every recovered model: those of the front one by one."""
    for row, result in results.items():
        if row.kind != "front":
            yield row, result
            continue
        for model in result["front"]:
            if model.get("f1_recovered") is not None:
                told = Row("front", "front", model["asked_speedup"], row.seed)
                yield told, {**model, "f1": model["f1_recovered"]}


def table(results: dict[Row, dict[str, Any]]) -> str:
    """Return the table of models in Markdown, by speed; of several seeds means and intervals."""
    lines = begun("models")
    groups: dict[tuple[float, str, str], list[dict[str, Any]]] = {}
    for row, result in models_of(results):
        groups.setdefault((row.speed, row.kind, row.way), []).append(result)
    for key in sorted(groups, key=lambda key: (key[0], KINDS.index(key[1]))):
        found = groups[key]
        one = found[0]
        reached = one.get("speedup_measured") or one["speedup"]
        lines.append(
            f"| {key[0]:g}x | {key[2]} | {' '.join(map(str, one['kept_layers']))} |"
            f" {one['hidden_size']} | {one['intermediate_size']} | {reached:.2f} |"
            f" {one['num_parameters']:,} | {interval([each['f1'] for each in found])} |"
        )
    return "\n".join(lines)


def ahead(results: dict[Row, dict[str, Any]]) -> str:
    """Return the table of how far searches are ahead of the others, seed by seed."""
    lines = begun("ahead")
    speeds = sorted({row.speed for row in results if row.kind == "single"})
    for speed in speeds:
        of_seed = {
            row.seed: result["f1"]
            for row, result in results.items()
            if (row.kind, row.speed) == ("single", speed)
        }
        best = best_by_hand(results, speed, min(of_seed))
        rivals = {("scaled", "scaled"): "", ("random", "random search"): ""}
        rivals |= {("hand", best): "the best choice by hand: "} if best else {}
        for (kind, way), title in rivals.items():
            gaps = [
                of_seed[row.seed] - result["f1"]
                for row, result in results.items()
                if (row.kind, row.way, row.speed) == (kind, way, speed) and row.seed in of_seed
            ]
            if gaps:
                lines.append(f"| {speed:g}x | {title}{way} | {interval(gaps)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def begun(name: str) -> list[str]:
    """Return the head of a table."""
    return [HEADS[name], "|---" * (HEADS[name].count("|") - 1) + "|"]


def interval(values: list[float]) -> str:
    """Return a mean, and of several values its 95 % interval by Student's t."""
    if len(values) not in T_95:
        return f"{mean(values):.2f}"
    half = T_95[len(values)] * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.2f} ± {half:.2f} ({len(values)} seeds)"


def asked(results: dict[Row, dict[str, Any]]) -> str:
    """Return the table of speeds asked for and reached, of all searches' choices."""
    lines = begun("speeds")
    for row, result in models_of(results):
        if row.kind in ("front", "single", "ragged", "ranks") and result.get("speedup_interval"):
            low, high = result["speedup_interval"]
            lines.append(
                f"| {row.speed:g}x | {result['speedup_measured']:.3f} | {low:.2f} to {high:.2f} |"
                f" {result['speedup']:.3f} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def minutes(processor: dict[str, Any] | None) -> str:
    """Return processor minutes; those of a search that was killed are more than is known."""
    if processor is None:
        return "?"
    more = "more than " if processor["num_starts"] > 1 else ""
    return f"{more}{processor['minutes']:.1f}"


def costs(results: dict[Row, dict[str, Any]]) -> str:
    """Return what searches cost, and how well cheap ranks predict those of the top rung."""
    lines = begun("costs")
    for row, result in results.items():
        if "search_windows" not in result:
            continue
        ranks = [
            f"{each['rung']}: {each['spearman']} ({each['num_trials']})"
            for each in result["rank_correlations"]
        ]
        lines.append(
            f"| {row.way}, seed {row.seed} | {row.speed:g}x | {sum(result['num_sizes'].values())} |"
            f" {result['num_trials_per_rung']} | {result['search_windows']:,} |"
            f" {minutes(result['processor'])} | {'; '.join(ranks)} |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""
