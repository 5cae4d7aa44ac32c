"""What the cut model takes over from what it loses.

A removed unit is not missed where it is constant: its mean, times the weights that read it, moves
into the reader's bias. A LayerNorm over fewer dimensions normalises differently: its gain and shift
are refitted, dimension by dimension, to give what the whole LayerNorm gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch, Statistics, model_inputs, observe, rows_of
from qa_lib.adjust.groups import Dimensions
from qa_lib.adjust.plan import Fold, Indices, Keep, Norm

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def fold(
    model: PreTrainedModel,
    dimensions: Dimensions,
    keep: Keep,
    statistics: Mapping[str, Statistics],
    batches: Iterable[Batch],
) -> Fold:
    """Measure what to fold.

    Args:
        model: The parent without the layers that go.
        dimensions: Its groups.
        keep: What stays of them.
        statistics: Of what every reader of a group reads.
        batches: Calibration windows; run again where LayerNorms are to be refitted.
    """
    held = {}
    for group in dimensions.groups:
        removed = complement(keep.of(group), group.width)
        for name in group.modules("reads"):
            if removed and model.get_submodule(name).bias is not None:
                held[name] = _floats(statistics[name].mean[list(removed)])
    cuts_hidden = len(keep.hidden) < dimensions.hidden.width
    norms = _refit(model, dimensions, keep, batches) if cuts_hidden else {}
    return Fold(held=held, norms=norms)


def complement(kept: Indices, width: int) -> Indices:
    """Return the indices below `width` that are not kept, ascending."""
    gone = set(range(width)) - set(kept)
    return tuple(sorted(gone))


def normalise(units: torch.Tensor, eps: float) -> torch.Tensor:
    """Return units of shape (..., units) less their mean, over their standard deviation."""
    centred = units - units.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()


def _refit(
    model: PreTrainedModel, dimensions: Dimensions, keep: Keep, batches: Iterable[Batch]
) -> dict[str, Norm]:
    """Fit each LayerNorm's gain and shift over the kept dimensions by least squares."""
    import torch

    kept = {
        name: torch.tensor(keep.of(group), device=model.device)
        for group in dimensions.groups
        for name in group.modules("normalises")
    }
    modules: dict[str, Any] = {name: model.get_submodule(name) for name in kept}
    moments = {name: _Moments() for name in kept}
    for batch in batches:
        batch = {key: value.to(model.device) for key, value in batch.items()}
        with torch.no_grad(), observe(model, kept) as seen:
            model(**model_inputs(batch))
        for name, module in modules.items():
            index = kept[name]
            units = rows_of(seen[name], batch["attention_mask"])  # (tokens, hidden)
            whole = module.weight.double() * normalise(units, module.eps)
            if module.bias is not None:
                whole = whole + module.bias.double()
            moments[name].add(normalise(units[:, index], module.eps), whole[:, index])
    return {name: moments[name].fit(module, kept[name]) for name, module in modules.items()}


class _Moments:
    """Sums for the least squares line from x to y, dimension by dimension."""

    def __init__(self) -> None:
        self.count = 0
        self.x: Any = 0.0
        self.y: Any = 0.0
        self.xx: Any = 0.0
        self.xy: Any = 0.0

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.count += len(x)
        self.x = self.x + x.sum(0)
        self.y = self.y + y.sum(0)
        self.xx = self.xx + (x * x).sum(0)
        self.xy = self.xy + (x * y).sum(0)

    def fit(self, module: Any, index: torch.Tensor) -> Norm:
        own = module.weight.detach().double()[index]
        if module.bias is None:  # the line goes through the origin
            slope = (self.xy / self.xx.clamp_min(1e-12)).where(self.xx > 1e-9, own)
            return Norm(weight=_floats(slope), bias=None)
        x, y = self.x / self.count, self.y / self.count
        variance = self.xx / self.count - x * x
        # A dimension that never moves has no slope of its own: it keeps its gain.
        slope = (self.xy / self.count - x * y) / variance.clamp_min(1e-12)
        slope = slope.where(variance > 1e-9, own)
        return Norm(weight=_floats(slope), bias=_floats(y - slope * x))


def _floats(values: torch.Tensor) -> tuple[float, ...]:
    """Round to float32, so that JSON gives back the very values that are used."""
    return tuple(values.float().tolist())
