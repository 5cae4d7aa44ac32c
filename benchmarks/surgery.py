"""F1 right after surgery, nothing retrained: fold and refit, layers and their seams.

    python -m benchmarks.surgery --model.name runs/parent
    python -m benchmarks.surgery --model.name runs/parent --recipe squad-cpu \
        --data.source SQUAD --data.eval-limit 2000

In this process, without Ray. The embedded questions unless the flags name others; a parent that was
trained on them is what the figures of docs/results/adjustment.md are about.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import chain
from typing import Any

import pyarrow as pa

from jobs import _runner

WIDTHS: dict[str, dict[str, Any]] = {
    "intermediate 768": {"intermediate_size": 768},
    "intermediate 384": {"intermediate_size": 384},
    "intermediate 192": {"intermediate_size": 192},
    "hidden 288": {"hidden_size": 288},
    "hidden 192": {"hidden_size": 192},
}
LAYERS: dict[str, dict[str, Any]] = {
    "four layers, first": {"num_layers": 4, "layers": "first"},
    "four layers, spread": {"num_layers": 4, "layers": "spread"},
    "four layers, best": {"num_layers": 4},
    "three layers, first": {"num_layers": 3, "layers": "first"},
    "three layers, spread": {"num_layers": 3, "layers": "spread"},
    "three layers, best": {"num_layers": 3},
    "four layers, best, intermediate 768": {"num_layers": 4, "intermediate_size": 768},
}
NUM_WINDOWS = (64, 128, 256, 512)
FOLD, REFIT = {"refit": False}, {"refit": True}


def main() -> None:
    """Print the tables."""
    _runner.quiet_libraries()
    from qa_lib import config, models

    settings = config.parse("adjust", sys.argv[1:])
    parent = models.load(settings.model.name)
    f1 = scorer(settings)
    print(f"parent: F1 {f1(parent):.2f}\n", flush=True)
    print("| cut | layers | mean fold | refit | seconds of the plan |\n|---|---|---|---|---|")
    for title, sizes in chain(WIDTHS.items(), LAYERS.items()):
        folded, layers, _ = cut(settings, parent, {**sizes, **FOLD})
        refitted, kept, seconds = cut(settings, parent, {**sizes, **REFIT})
        shown = " ".join(map(str, kept)) if kept == layers else f"{list(layers)}, {list(kept)}"
        print(
            f"| {title} | {shown} | {f1(folded):.2f} | {f1(refitted):.2f} | {seconds:.0f} |",
            flush=True,
        )
    print("\n| calibration windows | intermediate 384 | hidden 288 | four layers |")
    print("|---|---|---|---|")
    for num_windows in NUM_WINDOWS:
        scores = []
        for title in ("intermediate 384", "hidden 288", "four layers, best"):
            sizes = WIDTHS.get(title) or LAYERS[title]
            model, _, _ = cut(settings, parent, {**sizes, "calibration_windows": num_windows})
            scores.append(f"{f1(model):.2f}")
        print(f"| {num_windows} | {' | '.join(scores)} |", flush=True)


def cut(settings: Any, parent: Any, changes: dict[str, Any]) -> tuple[Any, tuple[int, ...], float]:
    """Return the model right after surgery, its layers, and the seconds that its plan took."""
    from qa_lib import adjust
    from qa_lib.adjust import prune

    began_s = time.monotonic()
    own = settings.model_copy(update={"adjust": settings.adjust.model_copy(update=changes)})
    plan = prune.plan_of(own, parent)
    seconds = time.monotonic() - began_s
    return adjust.apply(parent, plan), plan.keep.layers, seconds


def scorer(settings: Any) -> Callable[[Any], float]:
    """Return the function that scores a model on the held-out questions, as evaluation does."""
    from qa_lib import evaluation, windows
    from qa_lib.data import load_held_out
    from qa_lib.models.inference import Forward

    questions = load_held_out(settings.data)
    assert questions is not None, "the source has no questions to score on"
    forward = Forward(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    table = windows.build(questions.table, forward.tokenizer, spec, labels=False).table
    table = table.append_column("window_index", pa.array(range(table.num_rows)))
    contexts, ids = (questions.table[name].to_pylist() for name in ("context", "id"))

    def f1(model: Any) -> float:
        forward.model = model
        found = pa.concat_tables(evaluation.find_spans(forward, table, settings.evaluate))
        answers = evaluation.merge(found, questions, settings.evaluate).table(contexts)
        predictions = dict(zip(ids, answers["answer"].to_pylist(), strict=True))
        return float(evaluation.score(questions, predictions).fields()["f1"])

    return f1


if __name__ == "__main__":
    main()
