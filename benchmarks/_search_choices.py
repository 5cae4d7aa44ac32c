"""The sizes that `benchmarks.search` compares with a search's, each fitted to its speed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks._search_tables import Row

# Share of the layers, how they are chosen, share of the hidden size; units as the speed allows.
HAND = {
    "all layers, fewer units": (1.0, "first", 1.0),
    "5/6 of the layers, the first": (5 / 6, "first", 1.0),
    "2/3 of the layers, the first": (2 / 3, "first", 1.0),
    "1/2 of the layers, spread": (1 / 2, "spread", 1.0),
    "1/3 of the layers, the first": (1 / 3, "first", 1.0),
    "2/3 of the layers, 3/4 of the hidden size": (2 / 3, "first", 3 / 4),
}
SIZES = "sizes.json"
_BELOW = 0.97  # of the speed, from where widths are fitted to it
_MOST_DRAWS = 100


def sizes_of(settings: Any, row: Row, results: dict[Row, dict[str, Any]]) -> dict[str, Any]:
    """Return a row's adjustment and its speed; nothing if no such sizes have the speed."""
    from qa_lib import models
    from qa_lib.machines.ray_session import start_ray
    from qa_lib.search.space import choices_of
    from qa_lib.search.target import target_of

    if row.kind == "ragged":
        return by_scores(row, results)
    if row.kind == "single":
        return one_shot(settings, row)
    start_ray()
    config, target = models.load_config(settings.search.parent), target_of(settings)
    space = settings.search.space.model_copy(update={"intermediate_size": None})
    choices = choices_of(config, space)
    if row.kind == "random":
        latency, start = drawn(config, choices, row.speed, target, settings.seed)
    elif row.kind == "scaled":
        latency, start = scaled(config, row.speed, target)
    else:
        latency, start = widest(config, by_hand(config, *HAND[row.way]), choices, row.speed, target)
    return fitted(config, start, row.speed, latency, choices, target) if start else {}


def fitted(
    config: Any, start: Any, speed: float, latency: Any, choices: Any, target: Any
) -> dict[str, Any]:
    """Return the adjustment to sizes whose width is fitted to a speed; nothing if they miss it."""
    from qa_lib.search.speed import fit, measure_speedup

    sizes, found = fit(start, speed, latency, choices, partial(measure_speedup, config, target))
    if not found.meets(speed):
        return {}
    return {
        "keep_layers": list(sizes.layers),
        "hidden_size": sizes.hidden_size,
        "num_heads": sizes.num_heads,
        "intermediate_size": sizes.intermediate_size,
        "speedup_measured": found.value,
        "speedup_interval": [found.low, found.high],
    }


def widest(
    config: Any, shape: Any, choices: Any, speed: float, target: Any
) -> tuple[Any, Any | None]:
    """Return a latency model, and the widest sizes of a shape that it says have the speed."""
    from qa_lib.search import latency_model

    latency = latency_model.measure(config, [shape], target)
    return latency, latency.widest(shape, speed * _BELOW, choices.widths)


def by_hand(config: Any, share: float, way: str, hidden: float) -> Any:
    """Return the sizes of a choice by hand, with all units."""
    from qa_lib.adjust import Sizes, spread_layers

    whole = Sizes.of(config)
    depth = max(1, round(share * len(whole.layers)))
    layers = spread_layers(len(whole.layers), depth) if way == "spread" else whole.layers[:depth]
    heads = max(1, round(hidden * whole.num_heads))
    return replace(whole, layers=layers, num_heads=heads, hidden_size=heads * whole.head_size)


def scaled(config: Any, speed: float, target: Any) -> tuple[Any, Any | None]:
    """Return a latency model, and the largest uniformly scaled sizes that it says have the speed.

    The hidden size shrinks by whole heads, the intermediate size with it; layers stay.
    """
    from qa_lib.adjust import Sizes
    from qa_lib.search import latency_model

    whole = Sizes.of(config)
    ladder = [
        replace(
            whole,
            num_heads=heads,
            hidden_size=whole.head_size * heads,
            intermediate_size=whole.intermediate_size * heads // whole.num_heads // 8 * 8,
        )
        for heads in range(whole.num_heads - 1, 0, -1)
    ]
    latency = latency_model.measure(config, ladder, target)
    fast = (one for one in ladder if latency.speedup(one) >= speed * _BELOW)
    return latency, next(fast, None)


def drawn(
    config: Any, choices: Any, speed: float, target: Any, seed: int
) -> tuple[Any, Any | None]:
    """Return a latency model, and the widest sizes for the speed of a shape drawn at random."""
    import numpy as np

    from qa_lib.search import latency_model

    generator = np.random.default_rng(seed)
    latency = latency_model.measure(config, choices.streams, target)
    for _ in range(_MOST_DRAWS):
        stream = choices.streams[generator.integers(len(choices.streams))]
        sets = list(choices.sets.of_depth(int(generator.choice(choices.depths))))
        layers = sets[generator.integers(len(sets))]
        start = latency.widest(replace(stream, layers=layers), speed * _BELOW, choices.widths)
        if start is not None and latency.speedup(start) <= speed * 1.2:
            return latency, start
    return latency, None


def one_shot(settings: Any, row: Row) -> dict[str, Any]:
    """Return the adjustment that the one-shot ranking prefers, before any trial."""
    from benchmarks.adjustment import once
    from qa_lib import models
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.search.explore import choices, rank
    from qa_lib.search.target import target_of
    from qa_lib.serving import onnx

    wish = {"objective": "f1", "min_speedup": row.speed}
    search = settings.search.model_copy(update=wish)
    named = settings.model_copy(update={"run_name": f"{row.run_name}-ranked", "search": search})

    def work(settings: Any, run: Any) -> None:
        ranked = rank(settings, run, onnx.as_onnx)
        config, target = models.load_config(settings.search.parent), target_of(settings)
        best = next(entry for entry in ranked.journal.entries[1:] if not entry.skipped)
        space = choices(config, settings)
        latency = ranked.journal.latency
        run.write_json(SIZES, fitted(config, best.sizes, row.speed, latency, space, target))

    once(named, "tune", work)
    found: dict[str, Any] = json.loads(
        RunFolder(f"{named.storage}/{named.run_name}", "tune").read_text(SIZES)
    )
    return found


def by_scores(row: Row, results: dict[Row, dict[str, Any]]) -> dict[str, Any]:
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
        "speedup_measured": None,
        "speedup_interval": None,
    }
