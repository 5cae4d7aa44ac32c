"""The optimizer that DeepSpeed wraps, and its learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from qa_lib.models.weights import head_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qa_lib.config import TrainSettings

_CLIP_EPSILON = 1e-6  # as of torch.nn.utils.clip_grad_norm_


def learning_rate(train: TrainSettings, step: int, num_steps: int) -> float:
    """Return the rate of one step: linear warm-up, then linear decay to zero."""
    num_warmup = math.ceil(train.warmup_ratio * num_steps)
    if step < num_warmup:
        return train.learning_rate * (step + 1) / num_warmup
    return train.learning_rate * (num_steps - step) / max(1, num_steps - num_warmup)


def set_learning_rate(groups: list[dict[str, Any]], rate: float) -> None:
    """Set the rate of a step; a new head learns faster, as `build_optimizer` was told."""
    for group in groups:
        group["lr"] = rate * group["multiplier"]


def build_optimizer(model: PreTrainedModel, train: TrainSettings, *, new_head: bool = False) -> Any:
    """Build AdamW or SGD that can `clip`, with an attribute `skip`: a step then changes nothing.

    Freezes the token embeddings where the settings say so. `new_head`: the question-answering head
    was drawn anew.

    Outside fp16 DeepSpeed cannot drop a step whose loss is not finite. The optimizer that it wraps
    can: reduction and zeroing stay DeepSpeed's own, and clipping where it holds the gradients.
    """
    base = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.SGD
    options: dict[str, Any] = {}
    if train.optimizer == "adamw":
        # Fused, it is one pass over each tensor; the default takes three times as long on a CPU.
        options = {"fused": True, "eps": train.adam_epsilon}

    class Guarded(base):  # type: ignore[misc,valid-type]
        skip = False

        def step(self, closure: Any = None) -> Any:
            return None if self.skip else super().step(closure)

        def clip(self, max_norm: float) -> bool:
            """Clip the gradients of the next step; say whether they are finite.

            Fused AdamW divides by `grad_scale` as it reads them. Another norm, and multiplying them
            in memory before the step, took 4 % of a step of the quickstart.
            """
            parameters = [p for group in self.param_groups for p in group["params"]]
            gradients = [p.grad for p in parameters if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if max_norm > 0 and train.optimizer == "adamw":
                self.grad_scale = ((norm + _CLIP_EPSILON) / max_norm).clamp(min=1.0)
            elif max_norm > 0:
                torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
            return bool(norm.isfinite())

    if train.freeze_embeddings:
        model.get_input_embeddings().weight.requires_grad_(False)
    groups = _parameter_groups(model, train, new_head)
    return Guarded(groups, lr=train.learning_rate, **options)


def _parameter_groups(
    model: PreTrainedModel, train: TrainSettings, new_head: bool
) -> list[dict[str, Any]]:
    """Group what is trained by weight decay and by the multiplier of the learning rate."""
    head = head_of(model).keys() if new_head else ()
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_exempt = parameter.ndim < 2 or "layernorm" in name.lower().replace("_", "")
            decay = 0.0 if is_exempt else train.weight_decay
            multiplier = train.new_head_multiplier if name in head else 1.0
            groups.setdefault((multiplier, decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "multiplier": multiplier}
        for (multiplier, decay), parameters in groups.items()
    ]
