"""First and second moments of what linear maps read, on calibration windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch, model_inputs, observe, rows_of, total

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_ROWS_OF_PART = 8192  # to add up float64 for every batch would take longer than the products
_BLOCK = 512  # rows of a product that are computed at a time


@dataclass(frozen=True)
class Moments:
    """Means and covariance of the units that a linear map reads, over real tokens; float64.

    A map that runs several times, as where layers share their weights, has the rows of all passes.

    Attributes:
        mean: Of shape (units,); rounded to float32, as a plan states it.
        covariance: Of shape (units, units); about the origin for a map without a bias, which could
            not make up for a mean.
    """

    mean: torch.Tensor
    covariance: torch.Tensor


class Accumulator:
    """Sums up the products of two sets of units, batch by batch.

    Products are summed in float32 over some thousand rows, by matrix products, and in float64 over
    these. They are taken about the means of the first batch: about the origin, rounding would hide
    the variance of a unit that is small beside its mean.
    """

    def __init__(self) -> None:
        """Begin with no rows."""
        self._count, self._num_in_part = 0, 0
        self._left: Any = 0.0
        self._right: Any = 0.0
        self._products: Any = 0.0
        self._part: torch.Tensor | None = None  # of the products, in the units' own type
        self._shifts: Any = None
        self._is_symmetric = False

    def add(self, left: torch.Tensor, right: torch.Tensor) -> None:
        """Add rows of shapes (rows, m) and (rows, n)."""
        self._count += len(left)
        sums = total(left)
        self._left = self._left + sums
        self._right = self._right + (sums if right is left else total(right))
        if self._part is None:
            about_left, about_right = self.means
            self._shifts = about_left.to(left.dtype), about_right.to(right.dtype)
            self._part = left.new_zeros(left.shape[1], right.shape[1])
        shifted = left - self._shifts[0]
        if right is not left:
            self._part.addmm_(shifted.T, right - self._shifts[1])
        else:
            self._is_symmetric = True  # the upper part tells the rest
            for begin in range(0, left.shape[1], _BLOCK):
                rows = self._part[begin : begin + _BLOCK, begin:]
                rows.addmm_(shifted[:, begin : begin + _BLOCK].T, shifted[:, begin:])
        self._num_in_part += len(left)
        if self._num_in_part >= _ROWS_OF_PART:
            self._add_part()

    def _add_part(self) -> None:
        assert self._part is not None, "no rows were added"
        if self._num_in_part:
            self._products = self._products + self._part.double()
            self._part.zero_()
            self._num_in_part = 0

    @property
    def means(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The means, of shapes (m,) and (n,)."""
        return self._left / self._count, self._right / self._count

    def covariance(self, *, centred: bool = True) -> torch.Tensor:
        """Return the mean product of the two, of shape (m, n), about their means or the origin."""
        self._add_part()
        (left, right), shifts = self.means, self._shifts
        rest = (left - shifts[0])[:, None] * (right - shifts[1])
        products = self._products
        if self._is_symmetric:
            products = products.triu() + products.triu(1).T
        about_means = products / self._count - rest
        return about_means if centred else about_means + left[:, None] * right


def measure_moments(
    model: PreTrainedModel, names: Iterable[str], batches: Iterable[Batch]
) -> dict[str, Moments]:
    """Measure the moments of the inputs of linear maps, in one pass over the windows.

    Args:
        model: In evaluation mode.
        names: Of the maps; those that read one tensor share one set of moments.
        batches: Calibration windows.
    """
    import torch

    names = list(names)
    sums: dict[str, Accumulator] = {}
    first_reader: dict[str, str] = {}
    for batch in batches if names else ():
        batch = {key: value.to(model.device) for key, value in batch.items()}
        with torch.no_grad(), observe(model, names) as seen:
            model(**model_inputs(batch))
        if not first_reader:
            first_reader = _first_readers(seen)
        with torch.no_grad():
            for name in set(first_reader.values()):
                rows = rows_of(seen[name], batch["attention_mask"])
                sums.setdefault(name, Accumulator()).add(rows, rows)
    moments: dict[tuple[str, bool], Moments] = {}
    found = {}
    for name in names:
        key = first_reader[name], model.get_submodule(name).bias is not None
        if key not in moments:
            one = sums[key[0]]
            mean = one.means[0].float().double().cpu()
            moments[key] = Moments(mean, one.covariance(centred=key[1]).cpu())
        found[name] = moments[key]
    return found


def _first_readers(seen: Mapping[str, list[torch.Tensor]]) -> dict[str, str]:
    """Return, by map, the first map that reads the same tensors: queries, keys, values share."""
    first: dict[tuple[int, ...], str] = {}
    return {name: first.setdefault(tuple(map(id, seen[name])), name) for name in seen}
