"""What the cut model takes over from what it loses.

Removing a constant unit loses nothing: its mean, times the weights that read it, moves into the
reader's bias. What else it said, the units that stay can say in part: the reader is refitted (see
`refit`). A LayerNorm over fewer dimensions normalises differently: its gain and shift are refitted,
dimension by dimension, to the outputs of the whole LayerNorm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch, Statistics, model_inputs, observe, rows_of
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.moments import Moments
from qa_lib.adjust.plan import Fold, Keep, Norm, Tensors, floats
from qa_lib.adjust.refit import RIDGE, refit_readers
from qa_lib.adjust.seams import Repair
from qa_lib.adjust.selection import complement, cut_readers, take

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def measure_fold(
    model: PreTrainedModel,
    groups: Groups,
    keep: Keep,
    statistics: Mapping[str, Statistics],
    batches: Iterable[Batch],
    *,
    moments: Mapping[str, Moments] | None = None,
    repair: Repair | None = None,
    norms: dict[str, Norm] | None = None,
    ridge: float = RIDGE,
) -> Fold:
    """Measure the removed units' means or refit their readers; and LayerNorms where hidden is cut.

    Args:
        model: The parent without the layers that go, its seams repaired.
        groups: Its groups.
        keep: What stays.
        statistics: Of the inputs of every reader of a group.
        batches: Calibration windows; run again to refit LayerNorms.
        moments: Of the inputs of every reader of a cut group, to refit it; None: only means.
        repair: The seams, which this includes.
        norms: The LayerNorms of a cut residual stream, where they were fitted before.
        ridge: As of `refit.fit`.
    """
    repair = repair or Repair()
    fitted = {} if moments is None else refit_readers(model, groups, keep, moments, ridge)
    held = {
        name: floats(statistics[name].mean[list(complement(keep.of(group), group.width))])
        for group, name in cut_readers(groups, keep)
        if name not in fitted and model.get_submodule(name).bias is not None
    }
    cuts_hidden = len(keep.hidden) < groups.hidden.width
    if not cuts_hidden:
        norms = repair.norms
    elif norms is None:
        norms = fit_norms(model, groups, keep, batches)
    tensors = {name: take(t, groups.axes[name], keep) for name, t in repair.tensors.items()}
    for name, each in fitted.items():
        tensors |= each.tensors(name)
    residuals = [repair.residual, *(each.residual for each in fitted.values())]
    return Fold(held=held, norms=norms, tensors=Tensors.of(tensors), residual=max(residuals))


def normalise(units: torch.Tensor, eps: float) -> torch.Tensor:
    """Return units of shape (..., units), centred and divided by their standard deviation."""
    centred = units - units.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()


def fit_norms(
    model: PreTrainedModel, groups: Groups, keep: Keep, batches: Iterable[Batch]
) -> dict[str, Norm]:
    """Fit each LayerNorm's gain and shift over the kept dimensions by least squares."""
    import torch

    kept = {
        name: torch.tensor(keep.of(group), device=model.device)
        for group in groups
        for name in group.modules("normalises")
    }
    modules: dict[str, Any] = {name: model.get_submodule(name) for name in kept}
    sums: dict[str, Any] = dict.fromkeys(kept, 0.0)
    count = dict.fromkeys(kept, 0)
    for batch in batches:
        batch = {key: value.to(model.device) for key, value in batch.items()}
        with torch.no_grad(), observe(model, kept) as seen:
            model(**model_inputs(batch))
        for name, module in modules.items():
            index = kept[name]
            units = rows_of(seen[name], batch["attention_mask"]).double()  # (tokens, hidden)
            whole = module.weight.double() * normalise(units, module.eps)
            if module.bias is not None:
                whole = whole + module.bias.double()
            x, y = normalise(units[:, index], module.eps), whole[:, index]
            sums[name] = sums[name] + torch.stack([v.sum(0) for v in (x, y, x * x, x * y)])
            count[name] += len(x)
    return {
        name: _fit(module, kept[name], sums[name], count[name]) for name, module in modules.items()
    }


def _fit(module: Any, index: torch.Tensor, sums: torch.Tensor, count: int) -> Norm:
    """Fit the least squares line from x to y, dimension by dimension.

    Args:
        module: The LayerNorm.
        index: Its kept dimensions.
        sums: Of x, y, x^2 and xy over the rows, of shape (4, kept dimensions).
        count: Number of rows.
    """
    own = module.weight.detach().double()[index]
    if module.bias is None:  # a line through the origin
        _, _, xx, xy = sums
        slope = (xy / xx.clamp_min(1e-12)).where(xx > 1e-9, own)
        return Norm(weight=floats(slope), bias=None)
    x, y, xx, xy = sums / count
    variance = xx - x * x
    # A constant dimension determines no slope: it keeps its gain.
    slope = ((xy - x * y) / variance.clamp_min(1e-12)).where(variance > 1e-9, own)
    return Norm(weight=floats(slope), bias=floats(y - slope * x))
