"""The search against choices by hand, uniform scaling and random search; what it costs; its speeds.

    python -m benchmarks.search --recipe squad-cpu --model.name runs/parent
    python -m benchmarks.search --only front single --recipe squad-cpu --model.name runs/parent
    python -m benchmarks.search --speeds 2 3 --seeds 0 --recipe squad-cpu --model.name runs/mpnet
    python -m benchmarks.search --cut --speeds 2 --recipe squad-cpu --model.name runs/parent

Every row is a run folder in --storage: what is done is read and not run again, whatever --only
names, and a stopped row goes on where it was. The tables are printed after every row. --list says
which rows are done. The parent may have seen the articles that trials are scored on; no trial
trains on them, nor does any other row. Kinds of rows, in the order in which they run:

    front     one search for all speeds
    single    a search for each speed, with every seed at the speeds of --seeded
    random    random draws without halving, as many windows as the search of that speed and seed
    scaled    all widths scaled by one factor
    hand      six choices by hand, listed in HAND before any search has run; further seeds try the
              best one of the first seed again
    ragged    ragged sizes by dynamic programming, and shared out by scores at the same mean width
    ranks     a search at 2x in which every trial trains in full: do one-shot ranks predict it?

All but random draws are fitted to the speed in turns with the parent; all are recovered with the
recipe's whole training, and scored on one sample of the evaluation questions (2,000, or
--data.eval-limit). With --cut nothing is trained: what the one-shot ranking prefers is compared
with scaling, the choices by hand and a draw at random, all cut, refitted and fitted to the speed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._search_choices import HAND, SIZES, sizes_of
from benchmarks._search_tables import KINDS, Row, best_by_hand, tables
from benchmarks.adjustment import once
from jobs import _runner

FLAGS = ["--data.eval-limit", "2000", "--search.num-trials", "16"]
SPEEDS = (2.0, 1.5, 3.0, 5.0)
CUT_KINDS = ("single", "random", "scaled", "hand")

Results = dict[Row, dict[str, Any]]


def main() -> None:
    """Run what is missing, and print the tables as they grow."""
    options, flags = parse(sys.argv[1:])
    _runner.quiet_libraries()
    from qa_lib import config, search

    settings = with_parent(search.with_holdout(config.parse("tune", [*FLAGS, *flags])))
    every = list(rows(options, KINDS))
    results = {row: result for row in every if (result := done(settings, row)) is not None}
    if options.list:
        for row in every:
            print("done   " if row in results else "missing", row.run_name)
        return
    if results:
        print(tables(results), flush=True)
    for row in rows(options, options.only):
        if row not in results and (result := run(settings, row, options, results)) is not None:
            results[row] = result
            print(tables(results), flush=True)


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the benchmark's own options, and the flags of the job tune."""
    parser = argparse.ArgumentParser(prog="benchmarks.search", allow_abbrev=False)
    parser.add_argument("--speeds", type=float, nargs="+", default=SPEEDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--seeded", type=float, nargs="+", default=(2.0,))
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--cut", action="store_true", help="compare before any recovery")
    parser.add_argument("--list", action="store_true", help="say which rows are done, run none")
    return parser.parse_known_args(words)


def with_parent(settings: Any) -> Any:
    """Take `model.name` as the parent, where none is named: as it is, held-out articles or not."""
    if settings.search.parent is not None:
        return settings
    update = {"parent": settings.model.name, "seen_holdout": True}
    return settings.model_copy(update={"search": settings.search.model_copy(update=update)})


def rows(options: argparse.Namespace, kinds: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of some kinds, those of the first seed and the first speed first."""
    wanted = set(kinds) & set(CUT_KINDS) if options.cut else set(kinds)
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
            for kind, way in ways:
                if kind in wanted:
                    yield Row(kind, way, speed, seed, is_cut=options.cut)
    if "ranks" in wanted:
        yield Row("ranks", "every trial in full", 2.0, options.seeds[0])


def run(
    settings: Any, row: Row, options: argparse.Namespace, results: Results
) -> dict[str, Any] | None:
    """Run a row, and return its result; None where it cannot be run, which is told."""
    first = options.seeds[0]
    if row.kind == "hand" and row.seed != first:
        if row.way != best_by_hand(results, row.speed, first):
            return None
    named = settings.model_copy(update={"run_name": row.run_name, "seed": settings.seed + row.seed})
    if row.is_cut or row.kind in ("scaled", "hand") or row.way == "ragged by scores":
        return adjusted(named, row, results)
    wish: dict[str, Any] = {"objective": "f1", "min_speedup": row.speed}
    if row.kind == "front":
        wish = {"speeds": tuple(sorted(options.speeds))}
    elif row.kind == "random":
        searched = results.get(Row("single", "search", row.speed, row.seed))
        if searched is None:
            return missing(row, "the search has not been run: how many windows?")
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


def adjusted(settings: Any, row: Row, results: Results) -> dict[str, Any] | None:
    """Return the result of sizes that are fitted to their speed, cut, and recovered."""
    from qa_lib.adjust import pipeline
    from qa_lib.runs.run_folder import RunFolder

    fitted = RunFolder(f"{settings.storage}/{row.run_name}-sizes", "adjust")
    if not fitted.exists(SIZES):
        wish = sizes_of(settings, row, results)
        fitted.make()
        fitted.write_json(SIZES, wish)
    wish = json.loads(fitted.read_text(SIZES))
    if not wish:
        return missing(row, "no such sizes have the speed")
    wish["keep_layers"] = tuple(wish["keep_layers"])
    about = {name: wish.pop(name) for name in ("speedup_measured", "speedup_interval")}
    changes = {
        "adjust": settings.adjust.model_copy(update={**wish, "recover": not row.is_cut}),
        "model": settings.model.model_copy(update={"name": settings.search.parent}),
    }

    def work(settings: Any, run: Any) -> None:
        run.write_json("fitted.json", {**about, "asked_speedup": row.speed})
        pipeline.adjust_and_recover(settings, run)

    return timed_once(settings.model_copy(update=changes), "adjust", work)


def missing(row: Row, why: str) -> None:
    """Say why a row has no result."""
    print(f"{row.run_name}: {why}", file=sys.stderr, flush=True)


def timed_once(settings: Any, job: str, work: Callable[[Any, Any], None]) -> dict[str, Any]:
    """Do the work unless it is done; note the machine's processor time: nothing else may run.

    The time of a start that was killed is unknown: `num_starts` tells of it.
    """
    from qa_lib.runs.run_folder import RunFolder

    def timed(settings: Any, run: Any) -> None:
        so_far = read(run, "processor.json") or {"minutes": 0.0, "num_starts": 0}
        so_far["num_starts"] += 1
        run.write_json("processor.json", so_far)
        before = busy_minutes()
        try:
            work(settings, run)
        finally:
            so_far["minutes"] += busy_minutes() - before
            run.write_json("processor.json", so_far)

    once(settings, job, timed)
    found = done_at(RunFolder(f"{settings.storage}/{settings.run_name}", job))
    assert found is not None, "once returns when it is done"
    return found


def done(settings: Any, row: Row) -> dict[str, Any] | None:
    """Return the result of a row that is done."""
    from qa_lib.runs.run_folder import RunFolder

    return done_at(RunFolder(f"{settings.storage}/{row.run_name}", "tune"))


def done_at(run: Any) -> dict[str, Any] | None:
    """Return what a run that is done tells of a row."""
    result = run.read_result()
    if result.get("status") != "done":
        return None
    return result | (read(run, "fitted.json") or {}) | {"processor": read(run, "processor.json")}


def read(run: Any, name: str) -> Any:
    """Return a JSON file of a run; None where there is none."""
    return json.loads(run.read_text(name)) if run.exists(name) else None


def busy_minutes() -> float:
    """Return the minutes that the machine's processors have worked since it started."""
    import psutil

    idle = {"idle", "iowait", "guest", "guest_nice", "steal"}
    times = psutil.cpu_times()._asdict()
    return sum(seconds for name, seconds in times.items() if name not in idle) / 60


if __name__ == "__main__":
    main()
