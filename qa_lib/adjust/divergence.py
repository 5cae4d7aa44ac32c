"""How far a model's answers are from its parent's, without labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qa_lib.adjust.calibrate import Batch, model_inputs

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_NUM_WINDOWS = 64  # enough to order sets of layers: these differ by far more than windows do


class Reference:
    """The parent's distributions over start and end, on some of the calibration windows."""

    def __init__(self, parent: PreTrainedModel, batches: Iterable[Batch]) -> None:
        """Run the parent; batches are taken from short windows to long ones, evenly."""
        every = list(batches)
        num_windows = sum(len(batch["input_ids"]) for batch in every)
        self._batches = every[:: max(1, num_windows // _NUM_WINDOWS)]
        self._expected = [_log_shares(parent, batch) for batch in self._batches]

    def divergence(self, model: PreTrainedModel) -> float:
        """Return the mean over windows of the Kullback-Leibler divergences of start and end."""
        total, count = 0.0, 0
        for batch, expected in zip(self._batches, self._expected, strict=True):
            found = _log_shares(model, batch)
            total += float((expected.exp() * (expected - found)).sum())
            count += len(batch["input_ids"])
        return total / count


def _log_shares(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return log probabilities of start and end over the real tokens, (2, windows, tokens)."""
    import torch

    inputs = {key: value.to(model.device) for key, value in model_inputs(batch).items()}
    with torch.no_grad():
        output = model(**inputs)
    logits = torch.stack([output.start_logits, output.end_logits]).double()
    padding = inputs["attention_mask"] == 0
    return logits.masked_fill(padding, -1e4).log_softmax(-1)


def taught(parent: PreTrainedModel, batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches with the parent's logits beside them, for `divergence_loss`."""
    import torch

    found = []
    for batch in batches:
        batch = {key: value.to(parent.device) for key, value in batch.items()}
        with torch.no_grad():
            output = parent(**model_inputs(batch))
        batch["teacher_start_logits"] = output.start_logits
        batch["teacher_end_logits"] = output.end_logits
        found.append(batch)
    return found


def divergence_loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return the divergence from the parent's logits, summed over windows; labels do not count."""
    from qa_lib.training.losses import distilled_losses

    output = model(**model_inputs(batch))
    logits = output.start_logits, output.end_logits
    return distilled_losses(*logits, batch, weight=1.0, temperature=1.0).sum()
