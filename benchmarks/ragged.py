"""What ragged layers are worth: ragged models beside the stock one at the same measured latency.

    python -m benchmarks.ragged --recipe squad-cpu --model.name runs/train-squad-cpu-001

At 1.5 and at 2 times the parent's speed there is a stock model, whose feed-forward parts are as
wide as its measured latency allows, and ragged ones: units redistributed over the layers; fewer
heads and more units; a block dropped for more units elsewhere. Each is fitted to the speed in turns
with the parent, and recovered with the same windows, in a folder of --storage; finished rows are
read and not run again. After each row all models so far are measured again, in turns, and the table
is printed. Latencies are of one thread, which other work on the machine disturbs least. Scores are
on one seeded sample of 2,000 evaluation questions, or --data.eval-limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from benchmarks.adjustment import once
from jobs import _runner

FLAGS = ["--data.eval-limit", "2000", "--train.distill-weight", "0.9"]
LOADS = 4
STEP = 64  # units by which a layer's mean width is fitted to the latency


@dataclass(frozen=True, eq=False)
class Row:
    """One model: its required speed, and its settings apart from the width.

    `like` names the row that it equals before units move; it takes that row's width.
    """

    speed: float
    name: str
    wish: dict[str, Any] = field(default_factory=dict)
    like: str = ""

    @property
    def run_name(self) -> str:
        """Name of the run folder."""
        return self._named(self.name)

    @property
    def fit_name(self) -> str:
        """Name of the run folder that holds the width."""
        return self._named(f"{self.like or self.name} fit")

    def _named(self, name: str) -> str:
        return f"{name} {self.speed:g}x".replace(" ", "-").replace(",", "")


RAGGED = {"ragged": True}
FOUR, FIVE = {"num_layers": 4}, {"num_layers": 5}
ROWS = (  # the most informative ones first
    Row(1.5, "stock"),
    Row(1.5, "shared out", RAGGED, like="stock"),
    Row(2.0, "stock", FOUR),
    Row(2.0, "shared out", RAGGED | FOUR, like="stock"),
    Row(1.5, "9 heads", RAGGED | {"num_heads": 9}),
    Row(
        2.0,
        "5 layers, two blocks dropped",
        RAGGED | FIVE | {"drop_attention": (4,), "drop_feed_forward": (3,)},
    ),
    Row(1.5, "one attention dropped", RAGGED | {"drop_attention": (5,)}),
    Row(2.0, "9 heads", RAGGED | FOUR | {"num_heads": 9}),
)


def main() -> None:
    """Run what is missing, and print the table as it grows."""
    _runner.quiet_libraries()
    from qa_lib import config

    settings = config.parse("adjust", [*FLAGS, *sys.argv[1:]])
    results: dict[Row, dict[str, Any]] = {}
    for row in ROWS:
        named = settings.model_copy(update={"run_name": row.fit_name})
        fitted = once(named, "adjust", partial(fit, row=row))
        results[row] = recovered(settings, row, fitted["intermediate_size"])
        print(table(results, measured(settings, results)), flush=True)


def recovered(settings: Any, row: Row, width: int) -> dict[str, Any]:
    """Return the result of adjusting and recovering one model; run it where it is missing."""
    from qa_lib.adjust import pipeline

    wish = {**row.wish, "intermediate_size": width, "recover": True}
    asked = settings.adjust.model_copy(update=wish)
    named = settings.model_copy(update={"run_name": row.run_name, "adjust": asked})
    return once(named, "adjust", pipeline.adjust_and_recover)


def fit(settings: Any, run: Any, row: Row) -> None:
    """Find the largest width, of a ragged model the mean, with which a row has its speed."""
    from qa_lib import adjust, models
    from qa_lib.runs.result import Adjusted

    config = models.load_config(settings.model.name)
    whole = adjust.Sizes.of(config)
    tried: dict[int, float] = {}

    def is_fast(steps: int) -> bool:
        wish = {**row.wish, "intermediate_size": steps * STEP}
        sizes = adjust.resolve(config, settings.adjust.model_copy(update=wish))
        configs = config, sizes.apply(config)
        (found,) = speedups(lambda: [models.build(each).eval() for each in configs])
        tried[steps * STEP] = round(found, 3)
        return tried[steps * STEP] >= row.speed

    low, high = 1, whole.intermediate_size // STEP
    while low < high:  # the narrower, the faster
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_fast(middle) else (low, middle - 1)
    run.write_json("speedups.json", {str(width): speedup for width, speedup in tried.items()})
    run.write_result(Adjusted(intermediate_size=low * STEP), status="running")


def measured(settings: Any, rows: Iterable[Row]) -> list[float]:
    """Return how many times the parent's speed each row's model has, all measured in turns."""
    from qa_lib import models

    names = [settings.model.name, *(f"{settings.storage}/{row.run_name}" for row in rows)]
    return speedups(lambda: [models.load(name) for name in names])


def speedups(make: Callable[[], list[Any]]) -> list[float]:
    """Return how many times the first model's speed each other has.

    The models are made and measured several times, and the medians taken: between two of one shape
    lie several percent.
    """
    from qa_lib.models.latency import measure_latency

    found = []
    for _ in range(LOADS):
        models = {str(number): each for number, each in enumerate(make())}
        first, *others = measure_latency(models, num_threads=1).values()
        found.append([first / other for other in others])
    return [median(of_one) for of_one in zip(*found, strict=True)]


def table(results: dict[Row, dict[str, Any]], measured_speedups: list[float]) -> str:
    """Return the table of models in Markdown."""
    first = next(iter(results.values()))
    lines = [
        f"{first['num_questions']} evaluation questions, {first['num_window_passes']} window passes"
        f" of recovery, parent F1 {first['f1_before']:.2f}; speed-up: 1 window of 384 tokens,"
        " one thread, all models in turns",
        "",
        "| at | model | heads | intermediate size | parameters | speed-up | F1 at surgery |"
        " F1 recovered |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = zip(results.items(), measured_speedups, strict=True)
    for (row, result), speedup in sorted(found, key=lambda each: each[0][0].speed):
        keys = ("num_heads", "intermediate_size")
        blocks = result.get("blocks") or {key: [result[key]] for key in keys}
        heads, widths = (" ".join(map(str, blocks[key])) for key in keys)
        lines.append(
            f"| {row.speed:g}x | {row.name} | {heads} | {widths} | {result['num_parameters']:,} |"
            f" {speedup:.2f} | {result['f1_surgery']:.2f} | {result['f1']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
