"""The part of a tensor that a plan keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from qa_lib.adjust.groups import Axis, Group, Groups
from qa_lib.adjust.plan import Indices, Keep

if TYPE_CHECKING:
    import torch


def complement(kept: Indices, width: int) -> Indices:
    """Return the indices below `width` that are not kept, ascending."""
    return tuple(sorted(set(range(width)) - set(kept)))


def take(tensor: torch.Tensor, places: Sequence[tuple[Group, Axis]], keep: Keep) -> torch.Tensor:
    """Keep the units of the groups that a tensor takes part in."""
    import torch

    for dim in sorted({axis.dim for _, axis in places}):
        blocks = {
            block: torch.tensor(keep.of(group), dtype=torch.long, device=tensor.device)
            + block * group.width
            for group, axis in places
            if axis.dim == dim
            for block in axis.blocks
        }
        tensor = tensor.index_select(dim, torch.cat([blocks[block] for block in sorted(blocks)]))
    return tensor


def kept_outputs(groups: Groups, keep: Keep, name: str) -> torch.Tensor:
    """Return the indices of the outputs that a linear map keeps, of shape (kept outputs,)."""
    import torch

    weight = f"{name}.weight"
    places = [(group, axis) for group, axis in groups.axes[weight] if axis.dim == 0]
    return take(torch.arange(groups.shapes[weight][0]), places, keep)


def kept_shape(groups: Groups, keep: Keep, tensor: str) -> tuple[int, ...]:
    """Return the shape that a tensor has in the cut model."""
    shape = list(groups.shapes[tensor])
    for dim in range(len(shape)):
        blocks = {
            block: len(keep.of(group))
            for group, axis in groups.axes[tensor]
            if axis.dim == dim
            for block in axis.blocks
        }
        shape[dim] = sum(blocks.values()) if blocks else shape[dim]
    return tuple(shape)


def readers(groups: Groups) -> Iterator[tuple[Group, str]]:
    """Iterate over the linear maps that read a group, each with the one group that it reads."""
    for group in groups:
        for name in group.modules("reads"):
            yield group, name


def cut_readers(groups: Groups, keep: Keep) -> list[tuple[Group, str]]:
    """Return the linear maps that read a group of which not all units stay."""
    return [(g, name) for g, name in readers(groups) if len(keep.of(g)) < g.width]
