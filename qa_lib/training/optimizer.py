"""The optimizer that DeepSpeed wraps, and its learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qa_lib.config import TrainSettings


def learning_rate(train: TrainSettings, step: int, num_steps: int) -> float:
    """Return the rate of one step: linear warm-up, then linear decay to zero."""
    num_warmup = math.ceil(train.warmup_ratio * num_steps)
    if step < num_warmup:
        return train.learning_rate * (step + 1) / num_warmup
    return train.learning_rate * (num_steps - step) / max(1, num_steps - num_warmup)


def build_optimizer(model: PreTrainedModel, train: TrainSettings) -> Any:
    """Build AdamW or SGD with an attribute `skip`: while it is true, a step changes nothing.

    Outside fp16 DeepSpeed cannot drop a step whose loss is not finite. The optimizer that it wraps
    can: reduction, clipping and zeroing stay DeepSpeed's own.
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

    decayed: list[torch.nn.Parameter] = []
    exempt: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_exempt = parameter.ndim < 2 or "layernorm" in name.lower().replace("_", "")
        (exempt if is_exempt else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": train.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return Guarded(groups, lr=train.learning_rate, **options)
