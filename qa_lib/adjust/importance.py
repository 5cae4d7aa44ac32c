"""The importance of units, and the choice of those that stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Statistics, written
from qa_lib.adjust.extensions import Units, scores_by
from qa_lib.adjust.groups import Group, Groups
from qa_lib.adjust.plan import Indices, Keep
from qa_lib.adjust.sizes import Sizes

if TYPE_CHECKING:
    import torch

Scores = dict[str, "torch.Tensor"]


def score(
    groups: Groups,
    method: str,
    *,
    weights: Mapping[str, torch.Tensor],
    statistics: Mapping[str, Statistics],
    folds: bool,
    seed: int,
) -> Scores:
    """Score every unit of every group; more is more important.

    `taylor` estimates to first order how far the loss moves when the unit is held at its mean
    (zero without fold): per window, |sum over tokens of (activation - mean) x gradient|.
    `activation` is the mean absolute activation; `magnitude` the norm of all weights of the unit;
    `random` draws. MODULE:FUNCTION scores by a user's function, which sees all of this.

    Args:
        groups: The model's.
        method: One of the above.
        weights: The state dict; only `magnitude` and a user's function read it.
        statistics: By module; `magnitude` and `random` do not read them.
        folds: Whether removed units are held at their mean.
        seed: Of `random`.

    Returns:
        float64 tensors by group name, of shape (units,); `LAYER.heads` of shape (heads,).

    Source: Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, section 3.1.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    scores: Scores = {}
    for group in groups:
        names = _observed(groups, group)
        if not names:
            continue
        if method == "random":
            effects = torch.rand(1, group.width, dtype=torch.float64, generator=generator)
        elif method == "magnitude":
            effects = _weight_norms(group, weights)[None]
        else:
            seen = {name: statistics[name].first(group.width) for name in names}
        if ":" in method:
            units = Units(group.name, group.width, _weights(group, weights), seen)
            effects = scores_by(method, units)
        elif method in ("activation", "taylor"):
            effects = _magnitudes(seen) if method == "activation" else _taylor(seen, groups, folds)
        scores[group.name] = effects.abs().mean(0)
        if group.name.endswith(".value"):
            # A head contributes its values, as the output map reads them.
            heads = effects.unflatten(1, (groups.num_heads, -1)).sum(2)  # (windows, heads)
            scores[group.name.replace("value", "heads")] = heads.abs().mean(0)
    return scores


def choose(groups: Groups, scores: Scores, sizes: Sizes, vocabulary: Indices | None = None) -> Keep:
    """Keep the best units of each group.

    Args:
        groups: Those of the kept layers.
        scores: What `score` returns.
        sizes: Which layers, and how many units, to keep.
        vocabulary: Which tokens to keep; all where None.
    """
    num_stored = len(groups.layers)
    by_layer = [scores[f"{index}.heads"] for index in range(num_stored)]
    if groups.ties_heads:
        by_layer = [sum(by_layer[1:], by_layer[0])] * num_stored
    counts = [sizes.of_layer(index) for index in range(num_stored)]
    heads = tuple(
        _best(of_layer, count) for of_layer, (count, _) in zip(by_layer, counts, strict=True)
    )

    def in_heads(index: int, kind: str) -> Indices:
        """Return the best units of each kept head of a layer."""
        by_head = scores[f"{index}.{kind}"].unflatten(0, (groups.num_heads, -1))
        return tuple(
            head * by_head.shape[1] + unit
            for head in heads[index]
            for unit in _best(by_head[head], sizes.head_size)
        )

    return Keep(
        layers=sizes.layers,
        hidden=_best(scores["hidden"], sizes.hidden_size),
        head=_best(scores["head"], sizes.hidden_size) if "head" in scores else (),
        heads=heads,
        query_key=tuple(in_heads(index, "query_key") for index in range(num_stored)),
        value=tuple(in_heads(index, "value") for index in range(num_stored)),
        intermediate=tuple(
            _best(scores[f"{index}.intermediate"], count) for index, (_, count) in enumerate(counts)
        ),
        vocabulary=vocabulary,
        ragged=sizes.blocks is not None,
    )


def _observed(groups: Groups, group: Group) -> list[str]:
    """Name where a group's units are observed: at their readers, or where queries are written."""
    queries = {names[0] for names in groups.queries}
    return group.modules("reads") or [
        written(name) for name in group.modules("writes") if name in queries
    ]


def _best(scores: torch.Tensor, num_kept: int) -> Indices:
    import torch

    order = torch.argsort(scores, descending=True, stable=True)
    return tuple(sorted(order[:num_kept].tolist()))


def _magnitudes(seen: Mapping[str, Statistics]) -> torch.Tensor:
    """Return the mean absolute activation, of shape (1, units)."""
    import torch

    return torch.stack([each.magnitude for each in seen.values()]).mean(0, keepdim=True)


def _taylor(seen: Mapping[str, Statistics], groups: Groups, folds: bool) -> torch.Tensor:
    """Return the first-order effects on the loss, of shape (windows, units), signed.

    A head adds up its units' effects before it takes the absolute value.
    """
    import torch

    distinct: dict[str, Statistics] = {}
    for name, each in seen.items():  # maps that read one tensor saw the same
        if not any(torch.equal(each.products, other.products) for other in distinct.values()):
            distinct[name] = each
    return torch.cat(
        [
            # Without a bias to fold into, a removed unit is held at zero.
            each.products - each.mean * each.gradients
            if folds and f"{name}.bias" in groups.shapes
            else each.products
            for name, each in distinct.items()
        ]
    )


def _weight_norms(group: Group, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the norm of all weights of each unit, of shape (units,)."""
    squares: Any = sum(
        (each.square().sum(1) for each in _weights(group, weights).values()), start=0.0
    )
    return squares.sqrt()


def _weights(group: Group, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of each unit, (units, weights of a unit), by axis."""
    found: dict[str, torch.Tensor] = {}
    for axis in group.axes:
        weight = weights[axis.tensor].double().movedim(axis.dim, 0)
        # (blocks x units, ...) -> (units, blocks x ...)
        blocks = weight.reshape(len(weight), -1).unflatten(0, (-1, group.width))
        found[f"{axis.tensor}[{axis.dim}]"] = (
            blocks[list(axis.blocks)].movedim(0, 1).flatten(1).cpu()
        )
    return found
