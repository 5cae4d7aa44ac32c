"""The table of what an adjustment will do, shown before anything is cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from qa_lib.adjust import cost
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.groups import Group, Groups
from qa_lib.adjust.sizes import Sizes
from qa_lib.models import maximum_length
from qa_lib.models.latency import BATCH, NUM_TOKENS


def table(config: Any, sizes: Sizes, device: str = "cpu") -> str:
    """Return what becomes of each dimension, of each coupled group, and of the costs.

    Args:
        config: The parent's configuration.
        sizes: The sizes to cut it to.
        device: That latencies are of, as of `cost.predict_latencies`.
    """
    parent = Sizes.of(config)
    before, after = parent.apply(config), sizes.apply(config)
    num_tokens = min(NUM_TOKENS, maximum_length(config) or NUM_TOKENS)
    seconds = cost.predict_latencies([before, after], device)
    rows = [
        ("dimension", "before", "after"),
        ("layers", len(parent.layers), f"{len(sizes.layers)}  ({_ranges(sizes.layers)})"),
        ("hidden size", parent.hidden_size, sizes.hidden_size),
        ("heads", parent.num_heads, _by_layer(sizes, 0)),
        ("head size", parent.head_size, sizes.head_size),
        ("intermediate size", parent.intermediate_size, _by_layer(sizes, 1)),
        ("vocabulary", f"{before.vocab_size:,}", f"{after.vocab_size:,}"),
        ("parameters", f"{cost.num_parameters(before):,}", f"{cost.num_parameters(after):,}"),
        (
            f"GFLOPs ({num_tokens} tokens)",
            f"{cost.num_flops(before) / 1e9:.2f}",
            f"{cost.num_flops(after) / 1e9:.2f}",
        ),
        (
            f"predicted ms (batch {BATCH}, {num_tokens} tokens)",
            f"{seconds[0] * 1e3:.1f}",
            f"{seconds[1] * 1e3:.1f}  ({seconds[0] / seconds[1]:.2f}x)",
        ),
    ]
    return f"{_aligned(rows)}\n\n{_aligned(_group_rows(groups_of(config), sizes))}"


def _group_rows(groups: Groups, sizes: Sizes) -> list[tuple[Any, ...]]:
    stored = groups.stored(sizes.layers)
    attention = sizes.hidden_size if sizes.blocks is None else _by_layer(sizes, 0, sizes.head_size)
    after = {"query_key": attention, "value": attention, "intermediate": _by_layer(sizes, 1)}
    after |= {"hidden": sizes.hidden_size, "head": sizes.hidden_size, "heads": sizes.num_heads}
    rows: list[tuple[Any, ...]] = [("coupled group", "before", "after", "cut together")]
    for group in (groups.hidden, *groups.layers[stored[0]], *groups.others):
        layer, _, kind = group.name.rpartition(".")
        title = f"{kind}, each of layers {_ranges(sizes.layers)}" if layer else kind
        kept = after.get(kind, sizes.vocabulary_size or group.width)
        rows.append((title, group.width, kept, _modules(groups, group, stored.values())))
    removed = [i for i in range(groups.num_layers) if i not in sizes.layers]
    if removed:
        ranges = _ranges(removed)
        rows.append((f"layers {ranges}", "", "gone", f"{groups.layer_prefix}{{{ranges}}}"))
    return rows


def _by_layer(sizes: Sizes, which: int, factor: int = 1) -> str:
    """Write heads (0) or intermediate size (1), layer by layer where layers differ."""
    counts = [sizes.of_layer(place)[which] * factor for place in range(len(sizes.layers))]
    return " ".join(map(str, counts if len(set(counts)) > 1 else counts[:1]))


def _modules(groups: Groups, group: Group, layers: Collection[int]) -> str:
    """List the modules that a group couples, with `*` for the index of the layers."""
    prefix = groups.layer_prefix
    names = []
    for axis in group.axes:
        index = groups.layer_of(axis.module)
        if index is None:
            names.append(axis.module)
        elif index in layers:
            names.append(f"{prefix}*.{axis.module[len(f'{prefix}{index}.') :]}")
    return ", ".join(dict.fromkeys(names))


def _ranges(indices: Sequence[int]) -> str:
    """Write ascending indices as `0-3,5`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in runs)


def _aligned(rows: Sequence[tuple[Any, ...]]) -> str:
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(str(cell).ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
