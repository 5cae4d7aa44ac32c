"""The losses of a window: against its label, and against a teacher's logits.

A batch comes from `windows.collate`: int64 tensors `attention_mask` (windows, tokens) and
`start_positions`, `end_positions` (windows,). For distillation it also holds
`teacher_start_logits` and `teacher_end_logits`, float32 of shape (windows, tokens); and where some
windows have no label, float32 `labelled` (windows,), 1 or 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from qa_lib.config import TrainSettings

Batch = dict[str, torch.Tensor]
Losses = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]
"""Takes start logits, end logits and batch; returns a loss per window."""


def window_losses(
    start_logits: torch.Tensor, end_logits: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """Return the question-answering loss of each window, (windows,) float32.

    The mean of the two cross entropies. Padding is masked out of the softmax, so a window's loss
    does not depend on the other windows of its batch. Logits have shape (windows, tokens).

    Source:
        Devlin et al. 2019, section 4.2.
    """
    start, end = _masked(start_logits, batch), _masked(end_logits, batch)
    return 0.5 * (
        cross_entropy(start, batch["start_positions"], reduction="none")
        + cross_entropy(end, batch["end_positions"], reduction="none")
    )


def distilled_losses(
    start_logits: torch.Tensor,
    end_logits: torch.Tensor,
    batch: Batch,
    *,
    weight: float,
    temperature: float,
) -> torch.Tensor:
    """Mix the label's loss with the divergence from the teacher, (windows,) float32.

    The divergence of the softened distributions is multiplied by the square of the temperature, so
    that its gradients keep their size.

    Args:
        start_logits: (windows, tokens).
        end_logits: (windows, tokens).
        batch: Labels and the teacher's logits.
        weight: Of the teacher, from 0 to 1; the labels get the rest. A window without a label has
            the teacher's whole loss.
        temperature: Softens both distributions.

    Source:
        Hinton et al. 2015, section 2.
    """
    divergence = torch.zeros(len(start_logits), device=start_logits.device)
    for name, logits in (
        ("teacher_start_logits", start_logits),
        ("teacher_end_logits", end_logits),
    ):
        # Divided before padding is masked: by less than 1, the mask would become infinite.
        student = log_softmax(_masked(logits.float() / temperature, batch), dim=-1)
        teacher = log_softmax(_masked(batch[name].float() / temperature, batch), dim=-1)
        # Masked padding has probability 0 in both, and adds nothing.
        divergence += 0.5 * kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    labels = window_losses(start_logits, end_logits, batch)
    teachers = temperature**2 * divergence
    mixed = (1 - weight) * labels + weight * teachers
    return torch.where(batch["labelled"] > 0, mixed, teachers) if "labelled" in batch else mixed


def losses_of(train: TrainSettings) -> Losses:
    """Return the losses that settings ask for: with a teacher, the distilled ones."""
    if not train.teacher:
        return window_losses
    return partial(distilled_losses, weight=train.distill_weight, temperature=train.temperature)


def _masked(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    # Not -inf: the difference of two infinities would give NaN gradients.
    return logits.float().masked_fill(batch["attention_mask"] == 0, torch.finfo(torch.float32).min)
