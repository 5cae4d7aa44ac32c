"""The search against choices by hand, uniform scaling and random search; what it costs; its speeds.

    python -m benchmarks.search --recipe squad-cpu --search.parent runs/parent
    python -m benchmarks.search --speeds 2 3 --seeds 0 --recipe squad-cpu --search.parent runs/mpnet
    python -m benchmarks.search --only front single ...

Every row is a run folder in --storage: what is done is read and not run again, so a stopped
benchmark goes on where it was, and the tables are printed after every row as far as they are known.
The parent must have held the same articles out. Kinds of rows, in the order of --only:

    front     one search for all speeds
    single    a search for each speed, with every seed at the speeds of --seeded
    random    random draws without halving, as many windows as the search of that speed and seed
    scaled    all widths scaled by one factor
    hand      six choices by hand, listed in HAND below before any search has run
    ragged    ragged sizes by dynamic programming, and shared out by scores at the same mean width
    ranks     a search at 2x in which every trial trains in full: do one-shot ranks predict it?

All but random draws are fitted to the speed in turns with the parent; all are recovered with the
recipe's whole training, and scored on one sample of the evaluation questions (2,000, or
--data.eval-limit).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks._search_tables import KINDS, Row, asked, costs, table
from benchmarks.adjustment import once
from jobs import _runner

FLAGS = ["--data.eval-limit", "2000", "--search.num-trials", "16"]
SPEEDS = (2.0, 1.5, 3.0, 5.0)
# Share of the layers, how they are chosen, share of the hidden size; units as the speed allows.
HAND = {
    "all layers, fewer units": (1.0, "first", 1.0),
    "5/6 of the layers, the first": (5 / 6, "first", 1.0),
    "2/3 of the layers, the first": (2 / 3, "first", 1.0),
    "1/2 of the layers, spread": (1 / 2, "spread", 1.0),
    "1/3 of the layers, the first": (1 / 3, "first", 1.0),
    "2/3 of the layers, 3/4 of the hidden size": (2 / 3, "first", 3 / 4),
}


def main() -> None:
    """Run what is missing, and print the tables as they grow."""
    options, flags = parse(sys.argv[1:])
    _runner.quiet_libraries()
    from qa_lib import config, search

    settings = search.with_holdout(config.parse("tune", [*FLAGS, *flags]))
    if settings.search.parent is None:
        sys.exit("error: give --search.parent, a run that held articles out")
    results: dict[Row, dict[str, Any]] = {}
    for row in rows(options):
        result = run(settings, row, options, results)
        if result is not None:
            results[row] = result
            print("\n\n".join(filter(None, (table(results), asked(results), costs(results)))))
            print(flush=True)


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the benchmark's own options, and the flags of the job tune."""
    parser = argparse.ArgumentParser(prog="benchmarks.search", allow_abbrev=False)
    parser.add_argument("--speeds", type=float, nargs="+", default=SPEEDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--seeded", type=float, nargs="+", default=(2.0,))
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    return parser.parse_known_args(words)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows to run, those of the first seed and the first speed first."""
    wanted = set(options.only)
    if "front" in wanted:
        yield Row("front", "front", 0.0, options.seeds[0])
    for place, seed in enumerate(options.seeds):
        for speed in options.speeds:
            if place and speed not in options.seeded:
                continue
            ways = [("single", "search"), ("random", "random search"), ("scaled", "scaled")]
            ways += [("hand", way) for way in HAND]
            if not place:
                ways += [("ragged", "ragged by programme"), ("ragged", "ragged by scores")]
            yield from (Row(kind, way, speed, seed) for kind, way in ways if kind in wanted)
    if "ranks" in wanted:
        yield Row("ranks", "every trial in full", 2.0, options.seeds[0])


def run(
    settings: Any, row: Row, options: argparse.Namespace, results: dict[Row, dict[str, Any]]
) -> dict[str, Any] | None:
    """Return a row's result, run where it is missing; None where no sizes have the speed."""
    named = settings.model_copy(update={"run_name": row.run_name, "seed": settings.seed + row.seed})
    if row.kind in ("scaled", "hand") or row.way == "ragged by scores":
        return adjusted(named, row, results)
    wish: dict[str, Any] = {"objective": "f1", "min_speedup": row.speed}
    if row.kind == "front":
        wish = {"speeds": tuple(sorted(options.speeds))}
    elif row.kind == "random":
        searched = results.get(Row("single", "search", row.speed, row.seed))
        if searched is None:
            return None
        budget = searched["search_windows"]
        wish |= {"searcher": "random", "halving": False, "window_budget": budget}
    elif row.kind == "ragged":
        space = settings.search.space.model_copy(update={"ragged": (True,)})
        wish |= {"num_trials": 2, "space": space}
    elif row.kind == "ranks":
        wish |= {"halving": False}
    changed = settings.search.model_copy(update=wish)
    return timed_once(named.model_copy(update={"search": changed}), "tune", search_once)


def search_once(settings: Any, run: Any) -> None:
    """Search as the job does."""
    from qa_lib import search
    from qa_lib.serving import onnx

    search.search(settings, run, onnx.as_onnx)


def timed_once(settings: Any, job: str, work: Callable[[Any, Any], None]) -> dict[str, Any]:
    """Do the work unless it is done; note the machine's processor time: nothing else may run."""
    import psutil

    from qa_lib.runs.run_folder import RunFolder

    def timed(settings: Any, run: Any) -> None:
        before = psutil.cpu_times()
        work(settings, run)
        spent = [now - then for now, then in zip(psutil.cpu_times(), before, strict=True)]
        idle = {"idle", "iowait", "guest", "guest_nice", "steal"}
        named = zip(before._fields, spent, strict=True)
        run.write_json("processor.json", sum(s for name, s in named if name not in idle) / 60)

    result = once(settings, job, timed)
    path = f"{settings.storage}/{settings.run_name}"
    return result | {
        "processor_minutes": json.loads(RunFolder(path, job).read_text("processor.json"))
    }


def adjusted(settings: Any, row: Row, results: dict[Row, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the result of a choice without a search, fitted to its speed and recovered."""
    from qa_lib.adjust import pipeline
    from qa_lib.machines.ray_session import start_ray
    from qa_lib.runs.run_folder import RunFolder

    fitted = RunFolder(f"{settings.storage}/{row.run_name}-sizes", "adjust")
    if not fitted.exists("sizes.json"):
        start_ray()
        wish = by_scores(settings, row, results) if row.kind == "ragged" else fit(settings, row)
        fitted.make()
        fitted.write_json("sizes.json", wish)
    wish = json.loads(fitted.read_text("sizes.json"))
    if not wish:
        return None
    about = {name: wish.pop(name) for name in ("speedup_measured", "speedup_interval")}
    changes = {
        "adjust": settings.adjust.model_copy(update={**wish, "recover": True}),
        "model": settings.model.model_copy(update={"name": settings.search.parent}),
    }
    named = settings.model_copy(update=changes)
    found = timed_once(named, "adjust", pipeline.adjust_and_recover)
    return {**found, **about, "asked_speedup": row.speed}


def fit(settings: Any, row: Row) -> dict[str, Any]:
    """Return the adjustment of a choice by hand that has its speed; nothing if it cannot."""
    from qa_lib import models
    from qa_lib.search import latency_model, speed
    from qa_lib.search.space import choices_of
    from qa_lib.search.target import target_of

    config, target = models.load_config(settings.search.parent), target_of(settings)
    choices = choices_of(
        config, settings.search.space.model_copy(update={"intermediate_size": None})
    )
    measure = partial(speed.measure_speedup, config, target)
    if row.kind == "scaled":
        sizes = largest_scale(config, row.speed, target)
        found = measure(sizes) if sizes else None
    else:
        shape = by_hand(config, *HAND[row.way])
        latency = latency_model.measure(config, [shape], target)
        start = latency.widest(shape, row.speed * 0.97, choices.widths)
        sizes, found = (
            speed.fit(start, row.speed, latency, choices, measure) if start else (None, None)
        )
    if sizes is None or found is None or not found.meets(row.speed):
        return {}
    return {
        "keep_layers": list(sizes.layers),
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.intermediate_size,
        "speedup_measured": found.value,
        "speedup_interval": [found.low, found.high],
    }


def by_hand(config: Any, share: float, way: str, hidden: float) -> Any:
    """Return the sizes of a choice by hand, with all units."""
    from dataclasses import replace

    from qa_lib.adjust import Sizes, spread_layers

    whole = Sizes.of(config)
    depth = max(1, round(share * len(whole.layers)))
    layers = spread_layers(len(whole.layers), depth) if way == "spread" else whole.layers[:depth]
    heads = max(1, round(hidden * whole.num_heads))
    return replace(whole, layers=layers, num_heads=heads, hidden_size=heads * whole.head_size)


def largest_scale(config: Any, speed: float, target: Any) -> Any:
    """Return the largest uniformly scaled sizes that reach a speed, measured in turns.

    The hidden size shrinks by whole heads, the intermediate size with it; layers stay.
    """
    from dataclasses import replace

    from qa_lib.adjust import Sizes
    from qa_lib.search import latency_table

    whole = Sizes.of(config)
    ladder = [
        replace(
            whole,
            num_heads=heads,
            hidden_size=whole.head_size * heads,
            intermediate_size=whole.intermediate_size * heads // whole.num_heads,
        )
        for heads in range(whole.num_heads, 0, -1)
    ]
    parent, *scaled = latency_table.measure_models(config, ladder, target)
    return next(
        (one for one, ms in zip(ladder[1:], scaled, strict=True) if parent / ms >= speed), None
    )


def by_scores(settings: Any, row: Row, results: dict[Row, dict[str, Any]]) -> dict[str, Any]:
    """Return the adjustment that shares out, by scores, as many heads and units as the programme.

    Its layers are the programme's.
    """
    found = results.get(Row("ragged", "ragged by programme", row.speed, row.seed))
    if found is None:
        return {}
    return {
        "ragged": True,
        "keep_layers": found["kept_layers"],
        "num_heads": found["num_heads"],
        "intermediate_size": found["intermediate_size"],
        "speedup_measured": found["speedup"],
        "speedup_interval": None,
    }


if __name__ == "__main__":
    main()
