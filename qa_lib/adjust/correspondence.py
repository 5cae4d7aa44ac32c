"""Where the states of a cut model are in its parent, as its plan says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.families import family_of
from qa_lib.adjust.plan import Plan
from qa_lib.training.correspondence import Correspondence, Projections


def correspondence(config: Any, plan: Plan) -> Correspondence:
    """Return where the states of a plan's model are in its parent.

    What follows a layer in the cut model followed the gap after it in the parent, so that a layer
    before a gap stands for the gap's last one.

    Args:
        config: The parent's configuration.
        plan: Its cut.
    """
    layers, num_layers = plan.keep.layers, config.num_hidden_layers
    following = (*layers[1:], num_layers)
    last_has_attention = bool(plan.keep.heads[-1])
    return Correspondence(
        teacher_sha256=plan.parent_sha256,
        layers=tuple(after - 1 for after in following),
        hidden=plan.keep.hidden,
        kept=tuple(layers),
        student=_projections(config, len(layers) - 1) if last_has_attention else None,
        teachers=tuple(_projections(config, layer) for layer in layers),
    )


def composed(first: Correspondence, second: Correspondence) -> Correspondence:
    """Return where the states of a model that was cut twice are in its first parent.

    Args:
        first: Of the first cut.
        second: Of the second, in what the first one left.
    """
    return replace(
        second,
        teacher_sha256=first.teacher_sha256,
        layers=tuple(first.layers[layer] for layer in second.layers),
        hidden=tuple(first.hidden[unit] for unit in second.hidden),
        kept=tuple(first.kept[layer] for layer in second.kept),
        teachers=tuple(first.teachers[layer] for layer in second.kept),
    )


def _projections(config: Any, layer: int) -> Projections:
    """Return where a layer writes its tokens' queries, keys and values."""
    family = family_of(config)
    place, num_before = (0, layer) if family.shares_layers else (layer, 0)
    prefix = f"{groups_of(config).layer_prefix}{place}"
    queries, keys, value = (
        f"{prefix}.{name}" for name in (family.queries[0], family.keys[0], family.value)
    )
    return Projections((queries, keys, value), num_before)
