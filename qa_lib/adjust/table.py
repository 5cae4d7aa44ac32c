"""The table of what an adjustment will do, shown before anything is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qa_lib.adjust import cost
from qa_lib.adjust.sizes import Sizes

if TYPE_CHECKING:
    from qa_lib.adjust.groups import Dimensions, Group


def table(config: Any, dimensions: Dimensions, sizes: Sizes) -> str:
    """Say what becomes of each dimension, of each coupled group, and of the costs.

    Args:
        config: The parent's configuration.
        dimensions: Its groups.
        sizes: What it is to be cut to.
    """
    parent = Sizes.of(config)
    before, after = parent.apply(config), sizes.apply(config)
    seconds = cost.predict_latencies([before, after])
    dimension_rows = [
        ("dimension", "before", "after"),
        ("layers", str(len(parent.layers)), f"{len(sizes.layers)}  ({_ranges(sizes.layers)})"),
        ("hidden size", str(parent.hidden_size), str(sizes.hidden_size)),
        ("heads", str(parent.num_heads), _each(sizes, 0)),
        ("head size", str(parent.head_size), str(sizes.head_size)),
        ("intermediate size", str(parent.intermediate_size), _each(sizes, 1)),
        ("vocabulary", f"{before.vocab_size:,}", f"{after.vocab_size:,}"),
        ("parameters", f"{cost.num_parameters(before):,}", f"{cost.num_parameters(after):,}"),
        (
            f"GFLOPs ({cost.NUM_TOKENS} tokens)",
            f"{cost.num_flops(before) / 1e9:.2f}",
            f"{cost.num_flops(after) / 1e9:.2f}",
        ),
        (
            f"predicted ms (batch {cost.BATCH}, {cost.NUM_TOKENS} tokens)",
            f"{seconds[0] * 1e3:.1f}",
            f"{seconds[1] * 1e3:.1f}  ({seconds[0] / seconds[1]:.2f}x)",
        ),
    ]
    return f"{_aligned(dimension_rows)}\n\n{_aligned(_group_rows(dimensions, sizes))}"


def _group_rows(dimensions: Dimensions, sizes: Sizes) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("coupled group", "before", "after", "cut together")]
    hidden = dimensions.hidden
    touched = _touched(dimensions, hidden, sizes.layers)
    rows.append(("hidden", str(hidden.width), str(sizes.hidden_size), touched))
    heads = str(sizes.hidden_size) if sizes.blocks is None else _each(sizes, 0, sizes.head_size)
    after = (heads, heads, _each(sizes, 1))
    kinds = zip(dimensions.layers[0], after, strict=True)
    for position, (group, kept) in enumerate(kinds):
        kind = group.name.split(".")[1]
        one = list(dimensions.layers[dimensions.stored(sizes.layers)[0]])[position]
        rows.append(
            (
                f"{kind}, each of layers {_ranges(sizes.layers)}",
                str(group.width),
                kept,
                _touched(dimensions, one, sizes.layers),
            )
        )
    widths = {"head": sizes.hidden_size, "heads": sizes.num_heads}
    for group in dimensions.others:
        left = widths.get(group.name, sizes.vocabulary_size or group.width)
        touched = _touched(dimensions, group, sizes.layers)
        rows.append((group.name, str(group.width), str(left), touched))
    removed = [i for i in range(dimensions.num_layers) if i not in sizes.layers]
    if removed:
        prefix = dimensions.layer_prefix
        rows.append((f"layers {_ranges(removed)}", "", "gone", f"{prefix}{{{_ranges(removed)}}}"))
    return rows


def _each(sizes: Sizes, which: int, factor: int = 1) -> str:
    """Write heads (0) or intermediate size (1), layer by layer where they differ."""
    found = [sizes.of_layer(place)[which] * factor for place in range(len(sizes.layers))]
    return " ".join(map(str, found if len(set(found)) > 1 else found[:1]))


def _touched(dimensions: Dimensions, group: Group, layers: tuple[int, ...]) -> str:
    """List the modules that a group touches, those of the layers once."""
    prefix = dimensions.layer_prefix
    names = []
    for axis in group.axes:
        index = dimensions.layer_of(axis.module)
        if index is None:
            names.append(axis.module)
        elif index in dimensions.stored(layers).values():
            rest = axis.module[len(f"{prefix}{index}.") :]
            names.append(f"{prefix}*.{rest}")
    return ", ".join(dict.fromkeys(names))


def _ranges(indices: Any) -> str:
    """Write ascending indices as `0-3,5`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in runs)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
