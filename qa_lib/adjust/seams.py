"""Repair of the seams where layers are dropped.

The last kept layer before a gap is followed by layers that never saw its output. Its feed-forward
part is refitted so that, from its own units, it writes the stream as the parent has it after the
gap; and it takes the LayerNorm of the gap's last layer, where layers end in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch, model_inputs, observe, written
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.moments import Accumulator
from qa_lib.adjust.plan import Norm, floats
from qa_lib.adjust.refit import RIDGE, Fitted, fit

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Seam = tuple[int, int]  # the kept layer before a gap, and the gap's last layer

_MOST_BYTES = 2 << 30  # of all seams: 12 layers as large as BERT-base's leave some of 1.9 GB
_BYTES_OF_PRODUCT = 12  # in float32 and float64


@dataclass(frozen=True)
class Repair:
    """What repairs the seams of a model without some of its layers; names are that model's.

    Attributes:
        tensors: The feed-forward outputs' weights and biases.
        norms: The LayerNorms that end those layers, where there are any.
        residual: Largest residual of the fits.
    """

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    norms: dict[str, Norm] = field(default_factory=dict)
    residual: float = 0.0

    def state(self) -> dict[str, torch.Tensor]:
        """Return all tensors, those of LayerNorms too, by name."""
        import torch

        norms = {
            f"{name}.{parameter}": torch.tensor(values)
            for name, norm in self.norms.items()
            for parameter, values in norm
            if values is not None
        }
        return {**self.tensors, **norms}


class Seams:
    """The seams of one model: what they need is measured when it is needed, and kept."""

    def __init__(self, model: PreTrainedModel, batches: Iterable[Batch]) -> None:
        """Measure nothing yet.

        Args:
            model: The parent, in evaluation mode.
            batches: Calibration windows, run once for each call of `measure` with new seams.
        """
        self.model, self.batches = model, batches
        self._groups = groups_of(model.config)
        self._inputs: dict[int, Accumulator] = {}  # by kept layer
        self._missing: dict[Seam, Accumulator] = {}
        self._fits: dict[tuple[Seam, float], Fitted] = {}
        self._norms: dict[int, str] = {}  # by layer, the LayerNorm that it ends in

    @property
    def repairable(self) -> bool:
        """Whether each layer has tensors of its own: shared ones cannot make up for one pass."""
        return len(self._groups.layers) == self._groups.num_layers

    def measure(self, subsets: Iterable[tuple[int, ...]]) -> None:
        """Measure what the repair of these sets of kept layers needs, in one pass."""
        new = {seam for layers in subsets for seam in self._seams(layers)} - self._missing.keys()
        if not new or not self.repairable:
            return
        layers = sorted({layer for seam in new for layer in seam})
        new_layers = {first for first, _ in new} - self._inputs.keys()
        outputs = {layer: _feed_forward_output(self._groups, layer) for layer in layers}
        for batch in self.batches:
            batch = {key: value.to(self.model.device) for key, value in batch.items()}
            self._add(batch, outputs, new, new_layers)

    def measure_gaps(self, longest: int | None = None) -> None:
        """Measure the seams of all gaps of at most so many layers, in one pass.

        Where they would take too much memory, they are left to be measured as they are needed.
        """
        whole = range(self._groups.num_layers)
        subsets = [
            (*whole[: first + 1], *whole[after:])
            for first in whole
            for after in range(first + 2, len(whole) + 1)
            if longest is None or after - first - 1 <= longest
        ]
        size = self._groups.hidden.width * self._groups.layers[0].intermediate.width
        if len(subsets) * size * _BYTES_OF_PRODUCT <= _MOST_BYTES:
            self.measure(subsets)

    def repair(self, layers: tuple[int, ...], ridge: float = RIDGE) -> Repair:
        """Fit the repair of a set of kept layers."""
        self.measure([layers])
        if not self.repairable:
            return Repair()
        tensors: dict[str, torch.Tensor] = {}
        norms, residual = {}, 0.0
        for seam in self._seams(layers):
            if (seam, ridge) not in self._fits:  # sets of layers have seams in common
                self._fits[seam, ridge] = self._fit(seam, ridge)
            fitted = self._fits[seam, ridge]
            place = {seam[0]: layers.index(seam[0])}
            name = self._groups.rename(_feed_forward_output(self._groups, seam[0]), place)
            tensors |= fitted.tensors(str(name))
            residual = max(residual, fitted.residual)
            if seam[0] in self._norms:
                norm: Any = self.model.get_submodule(self._norms[seam[1]])
                name = self._groups.rename(self._norms[seam[0]], place)
                bias = None if norm.bias is None else floats(norm.bias.detach())
                norms[str(name)] = Norm(weight=floats(norm.weight.detach()), bias=bias)
        return Repair(tensors, norms, residual)

    def _seams(self, layers: tuple[int, ...]) -> list[Seam]:
        following = (*layers[1:], self._groups.num_layers)
        return [
            (layer, after - 1)
            for layer, after in zip(layers, following, strict=True)
            if after > layer + 1
        ]

    def _add(
        self, batch: Batch, outputs: Mapping[int, str], seams: set[Seam], new_layers: set[int]
    ) -> None:
        """Add a batch to the moments of these seams."""
        import torch

        groups, mask = self._groups, batch["attention_mask"].bool()
        blocks = {layer: f"{groups.layer_prefix}{layer}" for layer in outputs}
        norms = [n for n in groups.hidden.modules("normalises") if groups.layer_of(n) in outputs]
        inputs, written_by = [*outputs.values(), *norms], [*norms, *blocks.values()]
        with torch.no_grad(), observe(self.model, inputs, written_by) as seen:
            self.model(**model_inputs(batch))
            streams = {}
            for layer, block in blocks.items():
                output: Any = seen[written(block)][0]
                stream = output[0] if isinstance(output, tuple) else output
                for norm in norms:
                    if seen[written(norm)][0] is stream:  # the layer ends in it
                        self._norms[layer] = norm
                        stream = seen[norm][0]
                        break
                streams[layer] = stream[mask]
            for layer in new_layers:
                units = seen[outputs[layer]][0][mask]
                self._inputs.setdefault(layer, Accumulator()).add(units, units)
            for first, last in seams:
                # What the stream after the gap has, and the layer did not write.
                missing = streams[last] - streams[first]
                units = seen[outputs[first]][0][mask]
                self._missing.setdefault((first, last), Accumulator()).add(missing, units)

    def _fit(self, seam: Seam, ridge: float) -> Fitted:
        module: Any = self.model.get_submodule(_feed_forward_output(self._groups, seam[0]))
        inputs, missing = self._inputs[seam[0]], self._missing[seam]
        centred = module.bias is not None
        missed, mean = (each.cpu() for each in missing.means)
        return fit(
            module.weight.detach().cpu(),
            module.bias.detach().cpu() if centred else None,
            inputs.covariance(centred=centred).cpu(),
            missing.covariance(centred=centred).cpu(),
            (mean, missed),
            ridge,
        )


def _feed_forward_output(groups: Groups, layer: int) -> str:
    (name,) = groups.layers[layer].intermediate.modules("reads")
    return name
