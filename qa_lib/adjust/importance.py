"""How much each unit matters, and which ones stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Statistics, written
from qa_lib.adjust.groups import Dimensions, Group
from qa_lib.adjust.plan import Indices, Keep
from qa_lib.adjust.sizes import Sizes
from qa_lib.config import ImportanceMethod

if TYPE_CHECKING:
    import torch

Scores = dict[str, "torch.Tensor"]


def places(dimensions: Dimensions, group: Group) -> list[str]:
    """Name where a group's units are seen: what modules read, or for queries what they write."""
    queries = {names[0] for names in dimensions.queries}
    return group.modules("reads") or [
        written(name) for name in group.modules("writes") if name in queries
    ]


def score(
    dimensions: Dimensions,
    method: ImportanceMethod,
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
    `random` draws.

    Args:
        dimensions: The groups.
        method: One of the above.
        weights: The state dict; only `magnitude` reads it.
        statistics: By module; only `taylor` and `activation` read them.
        folds: Whether removed units are held at their mean.
        seed: Of `random`.

    Returns:
        float64 tensors by group name, of shape (units,); `LAYER.heads` of shape (heads,).

    Source: Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, section 3.1.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)

    def effects(group: Group) -> torch.Tensor:
        """Score units as (windows, units), so that a head can add up its own before |.|."""
        if method == "random":
            return torch.rand(1, group.width, dtype=torch.float64, generator=generator)
        if method == "magnitude":
            return _weight_norms(group, weights)[None]
        seen = {name: statistics[name].first(group.width) for name in places(dimensions, group)}
        if method == "activation":
            return torch.stack([each.magnitude for each in seen.values()]).mean(0, keepdim=True)
        # Where there is no bias to fold into, what is removed is held at zero.
        return torch.cat(
            [
                _first_order(each, folds and f"{name}.bias" in dimensions.shapes)
                for name, each in _distinct(seen).items()
            ]
        )

    scores: Scores = {}
    for group in [each for each in dimensions.groups if places(dimensions, each)]:
        found = effects(group)
        scores[group.name] = found.abs().mean(0)
        if group.name.endswith(".value"):
            # What a head contributes is what the output map reads of it: its values.
            whole = found.unflatten(1, (dimensions.num_heads, -1)).sum(2)
            scores[group.name.replace("value", "heads")] = whole.abs().mean(0)
    return scores


def choose(
    dimensions: Dimensions, scores: Scores, sizes: Sizes, vocabulary: Indices | None = None
) -> Keep:
    """Keep the best units of each group.

    Args:
        dimensions: The groups of the kept layers.
        scores: What `score` returns.
        sizes: Which layers, and how many units, to keep.
        vocabulary: Which tokens to keep; all where None.
    """
    heads: list[Indices] = []
    query_key: list[Indices] = []
    value: list[Indices] = []
    intermediate: list[Indices] = []
    by_layer = [scores[f"{index}.heads"] for index in range(len(dimensions.layers))]
    if dimensions.ties_heads:
        by_layer = [sum(by_layer[1:], by_layer[0])] * len(by_layer)
    for index, layer in enumerate(dimensions.layers):
        num_heads, intermediate_size = sizes.of_layer(index)
        kept = _best(by_layer[index], num_heads)
        heads.append(kept)
        for group, chosen in ((layer.query_key, query_key), (layer.value, value)):
            by_head = scores[group.name].unflatten(0, (dimensions.num_heads, -1))
            head_size = by_head.shape[1]
            chosen.append(
                tuple(
                    head * head_size + unit
                    for head in kept
                    for unit in _best(by_head[head], sizes.head_size)
                )
            )
        intermediate.append(_best(scores[layer.intermediate.name], intermediate_size))
    return Keep(
        layers=sizes.layers,
        hidden=_best(scores["hidden"], sizes.hidden_size),
        head=_best(scores["head"], sizes.hidden_size) if "head" in scores else (),
        heads=tuple(heads),
        query_key=tuple(query_key),
        value=tuple(value),
        intermediate=tuple(intermediate),
        vocabulary=vocabulary,
        ragged=sizes.blocks is not None,
    )


def _best(scores: torch.Tensor, num_kept: int) -> Indices:
    import torch

    order = torch.argsort(scores, descending=True, stable=True)
    return tuple(sorted(order[:num_kept].tolist()))


def _first_order(statistics: Statistics, folds: bool) -> torch.Tensor:
    if not folds:
        return statistics.products
    return statistics.products - statistics.mean * statistics.gradients


def _distinct(statistics: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """Drop repeats: the maps that read one tensor saw the same."""
    import torch

    distinct: dict[str, Statistics] = {}
    for name, each in statistics.items():
        if not any(torch.equal(each.products, other.products) for other in distinct.values()):
            distinct[name] = each
    return distinct


def _weight_norms(group: Group, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    squares: Any = 0.0
    for axis in group.axes:
        weight = weights[axis.tensor].double().movedim(axis.dim, 0)
        norms = weight.reshape(len(weight), -1).square().sum(1).unflatten(0, (-1, group.width))
        squares = squares + norms[list(axis.blocks)].sum(0).cpu()
    return squares.sqrt()
