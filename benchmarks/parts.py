"""What each part of an adjustment brings at 2, 3.3 and 5 times the parent's speed.

    python -m benchmarks.parts --recipe squad-cpu --model.name runs/parent --storage runs/parts \
        --data.source SQUAD --data.holdout-articles 0.1

Every row is a run of `jobs.adjust --adjust.recover` in a folder of --storage; rows that are done
are read and not run again, so that a stopped benchmark continues with the same command. At the
middle speed parts come one at a time: refit, seams, choice of layers, steps, hidden states,
attention relations, more questions, a second stage; at all speeds stand the plain cut and all parts
together. `--data.train-limit` questions have labels; as many more of the source have not. Scores
are on 2,000 evaluation questions unless --data.eval-limit says otherwise.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.adjustment import once, trained_further
from jobs import _runner

FLAGS = ["--data.eval-limit", "2000", "--train.distill-weight", "0.9"]
SPEEDS = (2.0, 3.3, 5.0)
MIDDLE = SPEEDS[1]
MOST = 1.15  # times the wanted speed, beyond which sizes are no candidates

PLAIN = {"refit": False, "layers": "first"}
REFIT = {"refit": True, "seams": False, "layers": "first"}
INSIDE = {"hidden_weight": 1.0}


@dataclass(frozen=True)
class Row:
    """One run: what differs from the plain settings of `adjust` and `train`."""

    name: str
    adjust: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    more_questions: bool = False


PLAIN_LONG = Row("plain, two epochs", PLAIN, {"epochs": 2})
PARTS = (
    Row("plain", PLAIN),
    Row("refit", REFIT),
    Row("refit and seams", {"layers": "first"}),
    Row("refit, seams, choice of layers", {}),
    Row("plain, choice of layers", {"refit": False}),
    Row("refit, 4 steps", REFIT | {"steps": 4}),
    Row("plain, hidden states", PLAIN, INSIDE),
    Row("plain, relations", PLAIN, {"relation_weight": 1.0}),
    PLAIN_LONG,
    Row("plain, more questions", PLAIN, {}, more_questions=True),
    Row("plain, two stages", PLAIN | {"stages": 2}),
)
ALL = Row("all", {"steps": 4}, INSIDE, more_questions=True)
ROWS = {speed: (PARTS if speed == MIDDLE else (PLAIN_LONG,)) + (ALL,) for speed in SPEEDS}


def main() -> None:
    """Run what is missing, and print the table."""
    _runner.quiet_libraries()
    from qa_lib import config

    settings = config.parse("adjust", [*FLAGS, *sys.argv[1:]])
    sizes = {speed: obtain_sizes(settings, speed) for speed in SPEEDS}
    results = [
        (speed, row, adjusted(settings, speed, sizes[speed], row))
        for speed in SPEEDS
        for row in ROWS[speed]
    ]
    print(table(results, trained_further(settings), sizes))


def obtain_sizes(settings: Any, speed: float) -> dict[str, int]:
    """Return the sizes of a speed: chosen when it is first asked for, and kept in a file."""
    path = Path(settings.storage) / f"sizes-{speed:g}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(choose_sizes(settings, speed)))
    return json.loads(path.read_text())


def choose_sizes(settings: Any, speed: float) -> dict[str, int]:
    """Return, of the sizes with about this speed, those nearest to the parent after a cut."""
    from qa_lib import adjust, models, windows
    from qa_lib.adjust import Sizes, cost, prune
    from qa_lib.adjust.divergence import Reference
    from qa_lib.data import load_questions
    from qa_lib.models.latency import measure_latency

    parent = models.load(settings.model.name)
    whole = Sizes.of(parent.config)
    candidates = []
    for layers, heads, width in product((2, 3, 4), (2, 3, 4), (1, 2, 3, 4, 8)):
        candidates.append(
            {
                "num_layers": max(1, round(len(whole.layers) * layers / 6)),
                "hidden_size": whole.head_size * max(1, whole.num_heads * heads // 4),
                "intermediate_size": max(8, whole.intermediate_size * width // 8 // 8 * 8),
            }
        )

    def resolved(sizes: dict[str, int]) -> Any:
        return adjust.resolve(parent.config, settings.adjust.model_copy(update=sizes))

    configs = [resolved(sizes).apply(parent.config) for sizes in candidates]
    base, *seconds = cost.predict_latencies([parent.config, *configs])
    fast = [
        sizes
        for sizes, own in zip(candidates, seconds, strict=True)
        if speed <= base / own <= MOST * speed
    ]
    if not fast:
        apart = [abs(base / own - speed) for own in seconds]
        fast = [candidates[apart.index(min(apart))]]
    batches = adjust.draw_windows(
        load_questions(settings.data, "train").table,
        models.load_tokenizer(settings.model.name),
        windows.WindowSpec(settings.data.max_length, settings.data.stride),
        num_windows=settings.adjust.calibration_windows,
        seed=settings.seed,
    )
    reference = Reference(parent, batches)

    def divergence(sizes: dict[str, int]) -> float:
        own = settings.model_copy(update={"adjust": settings.adjust.model_copy(update=sizes)})
        found = reference.divergence(adjust.apply(parent, prune.plan_of(own, parent)))
        print(f"{speed:g} times: {sizes}: divergence {found:.3f}", flush=True)
        return found

    def measured(sizes: dict[str, int]) -> float:
        """Return the speed-up of the whole model, in turns with the parent."""
        child = models.build(resolved(sizes).apply(parent.config)).eval()
        own = measure_latency({"parent": parent, "child": child})
        return own["parent"] / own["child"]

    nearest_first = sorted(fast, key=divergence)
    # The sum of layers is some 8 % off whole models.
    return next((sizes for sizes in nearest_first if measured(sizes) >= speed), nearest_first[0])


def adjusted(settings: Any, speed: float, sizes: dict[str, int], row: Row) -> dict[str, Any]:
    """Return the result of a row; run it where it is missing."""
    from qa_lib.adjust import pipeline

    train = dict(row.train)
    if row.more_questions:
        train["teacher_only_source"] = settings.data.source
        train["teacher_only_limit"] = settings.data.train_limit
    changes = {
        "run_name": f"{speed:g}-{row.name.replace(',', '').replace(' ', '-')}",
        "adjust": settings.adjust.model_copy(update={**sizes, **row.adjust, "recover": True}),
        "train": settings.train.model_copy(update=train),
    }
    return once(settings.model_copy(update=changes), "adjust", pipeline.adjust_and_recover)


def table(
    results: list[tuple[float, Row, dict[str, Any]]],
    further: dict[str, Any],
    sizes: dict[float, dict[str, int]],
) -> str:
    """Return the table in Markdown."""
    first = results[0][2]
    before = first["f1_before"]
    lines = [
        f"{first['num_questions']} evaluation questions; the parent: F1 {before:.2f}, trained"
        f" further on {further['num_window_passes']} windows: {further['f1']:.2f}; speed-up:"
        f" 1 window of 384 tokens, {first['latency_threads']} threads, {first['latency_device']}",
        "",
        *(
            f"- {speed:g} times: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in own.items())
            for speed, own in sizes.items()
        ),
        "",
        "| speed | cut and recovery | layers | speed-up | window passes | minutes |"
        " F1 at surgery | F1 | of parent |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for speed, row, result in results:
        stages = result.get("stages", [])
        passes = result["num_window_passes"] + sum(each["num_window_passes"] for each in stages)
        minutes = result["train_seconds"] + sum(each["train_seconds"] for each in stages)
        layers = " ".join(map(str, result["kept_layers"]))
        lines.append(
            f"| {speed:g} | {row.name} | {layers} | {result['speedup']:.2f} | {passes} |"
            f" {minutes / 60:.0f} | {result['f1_surgery']:.2f} | {result['f1']:.2f} |"
            f" {100 * result['f1'] / before:.1f} % |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
