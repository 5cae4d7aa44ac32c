"""The losses of a window: against its label, and against a teacher's logits.

A batch is what `windows.collate` makes: int64 tensors `attention_mask` (windows, tokens) and
`start_positions`, `end_positions` (windows,). For distillation it also holds the teacher's
`teacher_start_logits` and `teacher_end_logits`, float32 of shape (windows, tokens).
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

Batch = dict[str, torch.Tensor]


def window_losses(
    start_logits: torch.Tensor, end_logits: torch.Tensor, batch: Batch
) -> torch.Tensor:
    """Return the question-answering loss of each window, (windows,) float32.

    The mean of the two cross entropies (Devlin et al. 2019, section 4.2). Padding is masked out of
    the softmax, so a window's loss does not depend on what it was batched with.

    Args:
        start_logits: (windows, tokens).
        end_logits: (windows, tokens).
        batch: With `attention_mask`, `start_positions` and `end_positions`.
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

    Source: Hinton et al. 2015, section 2: the divergence of the softened distributions, times the
    square of the temperature, so that its gradients keep their size.

    Args:
        start_logits: (windows, tokens).
        end_logits: (windows, tokens).
        batch: With the teacher's logits beside the labels.
        weight: Of the teacher; the labels get the rest.
        temperature: Softens both distributions.
    """
    divergence = torch.zeros(len(start_logits), device=start_logits.device)
    for name, logits in (
        ("teacher_start_logits", start_logits),
        ("teacher_end_logits", end_logits),
    ):
        student = log_softmax(_masked(logits, batch) / temperature, dim=-1)
        teacher = log_softmax(_masked(batch[name], batch) / temperature, dim=-1)
        # Masked padding has probability 0 in both, and adds nothing.
        divergence += 0.5 * kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    labels = window_losses(start_logits, end_logits, batch)
    return (1 - weight) * labels + weight * temperature**2 * divergence


def _masked(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    # Not -inf: its log-softmax has NaN gradients where a difference of two infinities is taken.
    return logits.float().masked_fill(batch["attention_mask"] == 0, torch.finfo(torch.float32).min)
