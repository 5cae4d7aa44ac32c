"""The layers of a model before and after an adjustment, as rectangles to draw."""

from __future__ import annotations

from typing import Any

from qa_lib.report.facts import Facts

_WIDTH, _LABEL, _LAYER, _GAP, _TOP = 340.0, 26.0, 34.0, 8.0, 24.0


def picture(facts: Facts) -> dict[str, Any] | None:
    """Return two drawings of equal scale: all layers of the parent, and what was kept of them.

    Returns:
        None where the run adjusted nothing; else `width`, `height`, `sides` (before, after), each
        with its `title` and `layers`: the `number`, `y`, and the parts, none where it is gone;
        `rows` of (name, before, after); and `complete`, false where an earlier version's run does
        not tell how many layers the parent had.
    """
    sizes = _sizes(facts)
    if sizes is None:
        return None
    before, after, complete = sizes
    kept = after["layers"]
    numbers = list(range(before["num_layers"]))
    widest = max(before["hidden_size"], before["intermediate_size"])
    sides = [
        {
            "title": "before",
            "layers": [_layer(n, i, before, widest) for i, n in enumerate(numbers)],
        },
        {
            "title": "after",
            "layers": [
                _layer(n, i, _of_layer(facts, after, kept.index(n)) if n in kept else None, widest)
                for i, n in enumerate(numbers)
            ],
        },
    ]
    height = _TOP + len(numbers) * (_LAYER + _GAP)
    after = {**after, "num_layers": len(kept)}
    rows = [
        (name, before[key], after[key])
        for name, key in (
            ("layers", "num_layers"),
            ("hidden size", "hidden_size"),
            ("attention heads", "num_heads"),
            ("intermediate size", "intermediate_size"),
        )
        if before[key] is not None and (complete or key != "num_layers")
    ]
    return {
        "width": _WIDTH,
        "height": height,
        "sides": sides,
        "rows": rows,
        "complete": complete,
    }


def _sizes(facts: Facts) -> tuple[dict[str, Any], dict[str, Any], bool] | None:
    result, groups = facts.result, facts.plan.get("groups", {})
    kept = result.get("kept_layers")
    if not kept or "hidden_size" not in result or "hidden" not in groups:
        return None
    widths = {name.partition(".")[2]: group["width"] for name, group in groups.items()}
    if "intermediate" not in widths:
        return None
    scores = facts.plan.get("scores", {})
    heads = len(scores.get("0.heads", ())) or None
    parent_layers = result.get("num_parent_layers")
    before = {
        "num_layers": parent_layers or max(kept) + 1,
        "hidden_size": groups["hidden"]["width"],
        "num_heads": heads,
        "intermediate_size": widths["intermediate"],
    }
    after = {
        "layers": kept,
        "hidden_size": result["hidden_size"],
        "num_heads": result.get("num_heads"),
        "intermediate_size": result["intermediate_size"],
    }
    return before, after, parent_layers is not None


def _of_layer(facts: Facts, after: dict[str, Any], index: int) -> dict[str, Any]:
    """Return the sizes of a kept layer: a plan can give each its own."""
    keep = facts.plan.get("keep", {})
    own = {
        size: len(keep[units][index])
        for size, units in (("num_heads", "heads"), ("intermediate_size", "intermediate"))
        if index < len(keep.get(units, ()))
    }
    return after | own


def _layer(number: int, row: int, sizes: dict[str, Any] | None, widest: int) -> dict[str, Any]:
    y = _TOP + row * (_LAYER + _GAP)
    room = _WIDTH - _LABEL
    if sizes is None:
        return {"number": number, "y": y, "height": _LAYER, "x": _LABEL, "room": room, "parts": []}
    half = (_LAYER - 2) / 2
    heads = f"{sizes['num_heads']} heads, " if sizes["num_heads"] else ""
    parts = [
        ("attention", y, sizes["hidden_size"], f"{heads}hidden {sizes['hidden_size']:,}"),
        (
            "feed",
            y + half + 2,
            sizes["intermediate_size"],
            f"intermediate {sizes['intermediate_size']:,}",
        ),
    ]
    return {
        "number": number,
        "y": y,
        "height": _LAYER,
        "x": _LABEL,
        "room": room,
        "parts": [
            {
                "kind": kind,
                "y": top,
                "height": half,
                "width": round(room * size / widest, 1),
                "label": label,
            }
            for kind, top, size, label in parts
        ],
    }
