"""Least squares refit of the linear maps that read what is cut.

A map W that reads units a, of which S stay, becomes

    W' = argmin E |W' a_S - W a|^2 + lam |W' - W_S|^2,    b' = b + W mean(a) - W' mean(a_S)

with a about its mean, so that the units that stay say what those that go said, as far as they can
tell. With an infinite lam W' = W_S, and b' is the fold of the removed units' means.

Source: He et al. 2017, Channel Pruning for Accelerating Very Deep Neural Networks, section 3.1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.moments import Moments
from qa_lib.adjust.plan import Keep
from qa_lib.adjust.selection import complement, cut_readers, kept_outputs
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from qa_lib.adjust.groups import Groups

RIDGE = 1e-2  # of the mean variance of what is read; 1e-3 to 3e-2 differ by less than seeds do
ROUNDINGS = 100  # of a unit's mean: what varies less tells nothing that rounding leaves
RESIDUAL_TOLERANCE = 1e-5  # of the normal equations: weights are rounded to float32


@dataclass(frozen=True)
class Fitted:
    """A linear map that was fitted anew.

    Attributes:
        weight: Of shape (outputs, inputs), in the type of the old one.
        bias: Of shape (outputs,); None where the map has none.
        residual: Of the normal equations, relative to their terms, after rounding.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    residual: float

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Return the tensors by their names, of a module of this name; empty ones are left out."""
        own = {f"{name}.weight": self.weight}
        if self.bias is not None:
            own[f"{name}.bias"] = self.bias
        return {key: tensor.contiguous() for key, tensor in own.items() if tensor.numel()}


def fit(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    covariance: torch.Tensor,
    missing: torch.Tensor,
    means: tuple[torch.Tensor, torch.Tensor],
    ridge: float = RIDGE,
) -> Fitted:
    """Fit a linear map to a target by least squares, with a ridge toward its old weights.

    Args:
        weight: The old weights, of shape (outputs, inputs).
        bias: The old bias, or None; then the moments are about the origin.
        covariance: Of the inputs, of shape (inputs, inputs), float64.
        missing: Covariance of what the old map misses of the target with its inputs, of shape
            (outputs, inputs), float64.
        means: Of the inputs, of shape (inputs,), and of what is missed, of shape (outputs,).
        ridge: Multiple of the inputs' mean variance; with infinity the weights stay.

    Raises:
        AdjustError: The moments are not finite.
    """
    import torch

    if not (covariance.isfinite().all() and missing.isfinite().all()):
        raise AdjustError(
            "The model's activations on the calibration windows are not finite.",
            "Adjust another checkpoint; or leave the refit out: --adjust.no-refit.",
        )
    inputs, missed = means
    old = weight.double()
    change = torch.zeros_like(old)
    system = covariance
    if old.shape[1] and ridge != float("inf"):
        strength = _ridge(covariance, inputs, ridge, torch.finfo(weight.dtype).eps)
        system, factor = _factorise(covariance, strength)
        change = torch.cholesky_solve(missing.T, factor).T
    new = (old + change).to(weight.dtype)
    residual = _residual(new.double() - old, system, missing, old) if change.any() else 0.0
    if bias is None:
        return Fitted(new, None, residual)
    shift = missed - change @ inputs
    return Fitted(new, (bias.double() + shift).to(bias.dtype), residual)


def refit_readers(
    model: PreTrainedModel,
    groups: Groups,
    keep: Keep,
    moments: Mapping[str, Moments],
    ridge: float = RIDGE,
) -> dict[str, Fitted]:
    """Fit every map that reads a cut group, for what it writes that stays.

    Args:
        model: Of which the groups are.
        groups: Its groups.
        keep: What stays.
        moments: Of the inputs of those maps.
        ridge: As of `fit`.

    Returns:
        The maps as the cut model has them, but for the factor of another head size.
    """
    fitted = {}
    for group, name in cut_readers(groups, keep):
        module: Any = model.get_submodule(name)
        seen, rows = moments[name], kept_outputs(groups, keep, name)
        kept, gone = list(keep.of(group)), list(complement(keep.of(group), group.width))
        weight, bias = module.weight.detach().cpu(), module.bias
        lost = weight[:, gone].double()
        fitted[name] = fit(
            weight[rows][:, kept],
            None if bias is None else bias.detach().cpu()[rows],
            seen.covariance[kept][:, kept],
            lost[rows] @ seen.covariance[gone][:, kept],
            (seen.mean[kept], (lost @ seen.mean[gone])[rows]),
            ridge,
        )
    return fitted


def _ridge(covariance: torch.Tensor, means: torch.Tensor, ridge: float, eps: float) -> float:
    """Return what the ridge adds to the diagonal.

    Of nearly constant units, the variance that calibration saw is that of their rounding: weights
    fitted to it would be huge. A ridge above it leaves the fold.
    """
    variance = covariance.diagonal()
    told = (ROUNDINGS * eps) ** 2 * (variance + means.square())
    return max(ridge * float(variance.mean()), float(told.mean()), sys.float_info.min)


def _factorise(covariance: torch.Tensor, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a covariance with its ridge, and the Cholesky factor of that.

    Where the products' rounding took more than the ridge gives, the ridge grows, toward the fold.
    """
    import torch

    while True:
        system = covariance + strength * torch.eye(len(covariance), dtype=covariance.dtype)
        factor, failed = torch.linalg.cholesky_ex(system)
        if not failed:
            return system, factor
        strength *= 10


def _residual(
    change: torch.Tensor, system: torch.Tensor, missing: torch.Tensor, old: torch.Tensor
) -> float:
    """Return how far a change of weights is from the normal equations, relative to their terms."""
    error = (change @ system - missing).norm()
    return float(error / (missing.norm() + (old @ system).norm()))
