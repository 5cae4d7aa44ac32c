"""The layers of a model before and after an adjustment, as rectangles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qa_lib.reporting.facts import Facts

_WIDTH, _LABEL, _LAYER, _GAP, _TOP = 340.0, 26.0, 34.0, 8.0, 24.0
_PART = (_LAYER - 2) / 2  # two parts of a layer, 2 apart
_UNITS = {"num_heads": "heads", "attention_size": "value", "intermediate_size": "intermediate"}
_NAMES = {"attention": "attention", "feed": "feed-forward part"}
_ROWS = {
    "num_layers": "layers",
    "hidden_size": "hidden size",
    "num_heads": "attention heads",
    "intermediate_size": "intermediate size",
    "vocabulary_size": "vocabulary",
}


def picture(facts: Facts) -> dict[str, Any] | None:
    """Return two drawings of equal scale: the layers of the parent, and what was kept of them.

    Returns:
        None where the run adjusted nothing; else `width`, `height`, `left`, `layer_height`,
        `part_height`; `sides` (before, after) of a `title` and `layers` with `number`, `y` and
        `parts`, empty where the layer was removed; and `rows` of (name, before, after).
    """
    sizes = _sizes(facts)
    if sizes is None:
        return None
    before, after = sizes
    kept = facts.result["kept_layers"]
    numbers = range(before["num_layers"])
    widest = max(before["hidden_size"], before["intermediate_size"])
    of_layer = {number: _of_layer(facts, after, index) for index, number in enumerate(kept)}
    after |= {key: _range(of_layer.values(), key) for key in ("num_heads", "intermediate_size")}
    return {
        "width": _WIDTH,
        "height": _TOP + len(numbers) * (_LAYER + _GAP),
        "left": _LABEL,
        "layer_height": _LAYER,
        "part_height": _PART,
        "sides": [
            {"title": title, "layers": [_layer(n, layers.get(n), before, widest) for n in numbers]}
            for title, layers in (("before", dict.fromkeys(numbers, before)), ("after", of_layer))
        ],
        "rows": [
            (name, before[key], after[key])
            for key, name in _ROWS.items()
            if before[key] is not None and after[key] is not None  # a search keeps the vocabulary
        ],
    }


def _sizes(facts: Facts) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the parent's sizes and the child's, or None where the run lacks one of them."""
    result, groups = facts.result, facts.plan.get("groups", {})
    # Groups of a layer begin with its number: 0.intermediate.
    widths = {name.rpartition(".")[2]: group["width"] for name, group in groups.items()}
    if not (result.get("kept_layers") and result.get("num_parent_layers")):
        return None
    if "hidden_size" not in result or not {"hidden", "intermediate"} <= set(widths):
        return None
    before = {
        "num_layers": result["num_parent_layers"],
        "hidden_size": widths["hidden"],
        "num_heads": len(facts.plan.get("scores", {}).get("0.heads", ())) or None,
        "intermediate_size": widths["intermediate"],
        "vocabulary_size": widths.get("vocabulary"),
    }
    after = {key: result.get(key) for key in before} | {"num_layers": len(result["kept_layers"])}
    for sizes in (before, after):
        sizes["attention_size"] = sizes["hidden_size"]
    return before, after


def _of_layer(facts: Facts, after: dict[str, Any], index: int) -> dict[str, Any]:
    """Return the sizes of a kept layer, by its place among these.

    They come from the plan: result.json of a ragged model has means.
    """
    keep = facts.plan.get("keep", {})
    own = {
        size: len(keep[units][index])
        for size, units in _UNITS.items()
        if index < len(keep.get(units, ()))
    }
    return after | own


def _range(sizes: Iterable[dict[str, Any]], key: str) -> Any:
    """Return a size that all layers have, or the smallest and the largest as text."""
    values = {layer[key] for layer in sizes} - {None}
    return f"{min(values):,} to {max(values):,}" if len(values) > 1 else next(iter(values), None)


def _layer(
    number: int, sizes: dict[str, Any] | None, before: dict[str, Any], widest: int
) -> dict[str, Any]:
    y = _TOP + number * (_LAYER + _GAP)
    if sizes is None:
        return {"number": number, "y": y, "parts": []}
    heads = f"{sizes['num_heads']} heads, " if sizes["num_heads"] else ""
    intermediate = sizes["intermediate_size"]
    parts = (
        ("attention", y, "attention_size", f"{heads}hidden {sizes['hidden_size']:,}"),
        ("feed", y + _LAYER - _PART, "intermediate_size", f"intermediate {intermediate:,}"),
    )
    return {
        "number": number,
        "y": y,
        "parts": [
            {
                "kind": kind if sizes[size] else "gone",
                "y": top,
                "width": round((_WIDTH - _LABEL) * (sizes[size] or before[size]) / widest, 1),
                "label": label if sizes[size] else f"{_NAMES[kind]} removed",
            }
            for kind, top, size, label in parts
        ],
    }
