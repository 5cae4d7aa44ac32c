"""How far a model's answers are from its parent's, without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from qa_lib.adjust.calibrate import Batch, model_inputs

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_NUM_WINDOWS = 64  # enough to order sets of layers: these differ by far more than windows do
_LONGEST = 30  # tokens of an answer, as in `evaluate.max_answer_length`


class Reference:
    """The parent's distributions over start and end on calibration windows."""

    def __init__(
        self, parent: PreTrainedModel, batches: Iterable[Batch], most: int | None = _NUM_WINDOWS
    ) -> None:
        """Run the parent on all windows, of which `divergence` takes some, of all lengths.

        Args:
            parent: In evaluation mode.
            batches: Windows, from short to long.
            most: Windows that divergences are measured on, about; None: all.
        """
        every = list(batches)
        num_windows = sum(len(batch["input_ids"]) for batch in every)
        self._every = [(batch, _log_shares(parent, batch)) for batch in every]
        self._some = self._every[:: max(1, num_windows // (most or num_windows))]

    def divergence(self, model: PreTrainedModel) -> float:
        """Return the mean over windows of the Kullback-Leibler divergences of start and end."""
        return self._mean(model, self._some, _diverged)[0]

    def agreement(self, model: PreTrainedModel) -> float:
        """Return the mean F1, over all windows, of the tokens of its answer and the parent's.

        Answers are what counts in the end. The divergence also counts how sure a model is of them,
        which a cut changes and a short training mends.
        """
        return self._mean(model, self._every, _agreed)[0]

    def compare(self, model: PreTrainedModel) -> tuple[float, float]:
        """Return divergence and agreement, both over all windows, from one pass."""
        divergence, agreement = self._mean(model, self._every, _diverged, _agreed)
        return divergence, agreement

    def _mean(
        self,
        model: PreTrainedModel,
        compared: Iterable[tuple[Batch, torch.Tensor]],
        *measures: Callable[[torch.Tensor, torch.Tensor], float],
    ) -> list[float]:
        """Return the means over windows of measures of the parent's shares and the model's."""
        totals, count = [0.0] * len(measures), 0
        for batch, expected in compared:
            found = _log_shares(model, batch)
            count += len(batch["input_ids"])
            totals = [
                total + measure(expected, found)
                for total, measure in zip(totals, measures, strict=True)
            ]
        return [total / count for total in totals]


def _diverged(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the divergences of start and end, summed over windows."""
    return float((expected.exp() * (expected - found)).sum())


def _agreed(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the F1 of the tokens of the best answers, summed over windows."""
    import torch

    (start, end), (first, last) = _spans(expected), _spans(found)
    common = (torch.minimum(end, last) - torch.maximum(start, first) + 1).clamp_min(0)
    lengths = (end - start + 1) + (last - first + 1)
    return float((2 * common / lengths).double().sum())


def _spans(log_shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return first and last token of each window's best answer, each (windows,)."""
    import torch

    start, end = log_shares
    num_tokens = start.shape[1]
    possible = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=start.device)
    possible = possible.triu().tril(_LONGEST - 1)
    scores = (start[:, :, None] + end[:, None, :]).masked_fill(~possible, -torch.inf)
    best = scores.flatten(1).argmax(1)
    return best // num_tokens, best % num_tokens


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
