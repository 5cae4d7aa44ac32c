"""Teaching inside: a student's hidden states and attention relations follow its teacher's.

A student that was cut from its teacher finds its own states in the teacher's, so that they compare
without a projection. The teacher runs beside the student, once per batch, and its logits come from
the same pass. The weights of what is inside are constant, then fall to zero, so that the end of the
training is for answers alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import kl_div, log_softmax

from qa_lib.config import TrainSettings
from qa_lib.training.correspondence import Correspondence, Projections
from qa_lib.training.losses import Batch, Losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

States = Sequence[torch.Tensor]


def inner_share(train: TrainSettings, step: int, num_steps: int) -> float:
    """Return the part of the inner weights at a step: 1, then a line to 0 after the last step."""
    falling = train.inner_decay * num_steps
    return 1.0 if falling <= 0 else min(1.0, (num_steps - step) / falling)


class InnerTeacher:
    """A teacher beside a rank's student."""

    def __init__(
        self,
        teacher: PreTrainedModel,
        train: TrainSettings,
        match: Correspondence,
        *,
        precision: str,
        device: torch.device,
        numbers: np.ndarray | None = None,
    ) -> None:
        """Place the teacher.

        Args:
            teacher: In evaluation mode.
            train: The weights.
            match: Where the student's states are in it.
            precision: fp32, bf16 or fp16: the student's.
            device: Of this rank.
            numbers: The teacher's id of each of the student's token ids; None where all are equal.
        """
        self._teacher = teacher.to(device).requires_grad_(False).eval()  # type: ignore[arg-type]
        self._train, self._match = train, match
        self._hidden = torch.tensor(match.hidden, device=device)
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self._autocast: dict[str, Any] = {
            "device_type": device.type,
            "dtype": dtype,
            "enabled": dtype is not None,
        }
        self._numbers = None if numbers is None else torch.from_numpy(numbers).long().to(device)

    def losses(
        self,
        engine: Callable[..., Any],
        student: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        batch: Batch,
        logit_losses: Losses,
        share: float,
    ) -> torch.Tensor:
        """Return the loss of each window, (windows,) float32, inside and outside.

        Args:
            engine: Runs the student.
            student: The model inside.
            inputs: Of the model.
            batch: Labels and mask.
            logit_losses: Of the logits, as without this teacher.
            share: Of the inner weights, at this step.
        """
        train, match, mask = self._train, self._match, batch["attention_mask"]
        with torch.no_grad(), torch.autocast(**self._autocast):
            taught, theirs = self._run(
                self._teacher, self._teacher, self._renumbered(inputs), match.teacher
            )
        output, own = self._run(engine, student, inputs, match.student)
        logits = {
            "teacher_start_logits": taught.start_logits.float(),
            "teacher_end_logits": taught.end_logits.float(),
        }
        total = logit_losses(output.start_logits, output.end_logits, batch | logits)
        if train.hidden_weight:
            states = [taught.hidden_states[layer + 1][..., self._hidden] for layer in match.layers]
            missed = hidden_losses(output.hidden_states[1:], states, mask)
            total = total + share * train.hidden_weight * missed
        if train.relation_weight:
            differ = relation_losses(own, theirs, mask, self._teacher.config.num_attention_heads)
            total = total + share * train.relation_weight * differ
        return total

    def _run(
        self,
        run: Callable[..., Any],
        model: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        projections: Projections | None,
    ) -> tuple[Any, States]:
        """Run a model; return its output, and its queries, keys and values where they count."""
        wants_states, wants_relations = map(
            bool, (self._train.hidden_weight, self._train.relation_weight)
        )
        if not wants_relations or projections is None:
            return run(**inputs, output_hidden_states=wants_states), ()
        with projections.written(model, inputs["attention_mask"]) as found:
            output = run(**inputs, output_hidden_states=wants_states)
        return output, [
            projections.of(name, found[name], place)
            for place, name in enumerate(projections.modules)
        ]

    def _renumbered(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._numbers is None:
            return inputs
        return inputs | {"input_ids": self._numbers[inputs["input_ids"]]}


def hidden_losses(own: States, taught: States, mask: torch.Tensor) -> torch.Tensor:
    """Return the share of the teacher's variance that the student misses, (windows,) float32.

    Per layer and window, over the real tokens: squared differences by the teacher's squared
    deviations from its mean, so that layers and families compare. The mean over layers.

    Args:
        own: Per layer (windows, tokens, hidden).
        taught: The same of the teacher, in the student's dimensions.
        mask: (windows, tokens), 1 for real tokens.

    Source:
        Jiao et al. 2020 (TinyBERT), section 3.1, without the projection, and by the variance.
    """
    real = mask[..., None].float()
    counts = real.sum(1, keepdim=True)
    total = torch.zeros(len(mask), device=mask.device)
    for student, teacher in zip(own, taught, strict=True):
        student, teacher = student.float(), teacher.float()
        about = teacher - (teacher * real).sum(1, keepdim=True) / counts
        missed = ((student - teacher).square() * real).sum((1, 2))
        spread = (about.square() * real).sum((1, 2))
        total = total + missed / spread.clamp_min(1e-6)
    return total / len(own)


def relation_losses(
    own: States, taught: States, mask: torch.Tensor, num_heads: int
) -> torch.Tensor:
    """Return the divergence of attention relations, (windows,) float32.

    Queries, keys and values each have relations between tokens: the softmax of their scaled dot
    products with each other. They have one shape whatever the width, in as many heads as divide
    both.

    Args:
        own: Queries, keys and values, each (windows, tokens, units).
        taught: The teacher's.
        mask: (windows, tokens), 1 for real tokens.
        num_heads: The most heads.

    Source:
        Wang et al. 2021 (MiniLMv2), section 3.1.
    """
    common = math.gcd(own[0].shape[-1], taught[0].shape[-1])
    heads = max(count for count in range(1, num_heads + 1) if common % count == 0)
    hidden = mask[:, None, None] == 0

    def relations(units: torch.Tensor) -> torch.Tensor:
        split = units.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (W, heads, T, units)
        products = split @ split.mT / math.sqrt(split.shape[-1])
        # Not -inf: see `losses`.
        return log_softmax(products.masked_fill(hidden, torch.finfo(torch.float32).min), dim=-1)

    counts = mask.sum(1).float()
    total = torch.zeros(len(mask), device=mask.device)
    for student, teacher in zip(own, taught, strict=True):
        of_query = kl_div(
            relations(student), relations(teacher), reduction="none", log_target=True
        ).sum(-1)  # (windows, heads, tokens)
        total = total + (of_query.mean(1) * mask).sum(1) / counts
    return total / len(own)
