"""Kernels of attention: torch's fused one, batched matrix products, or a family's own code.

transformers knows the batched products as `qa_batched`, which `use` sets for a model in memory. No
checkpoint names it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Kernel = Literal["sdpa", "batched", "eager"]
"""torch's fused kernel, batched products, or the family's own code."""

_NAME = "qa_batched"
_RELATIVE_FAMILIES = ("mpnet", "deberta-v2")
"""Families that ask transformers for no kernel: see `relative_attention`."""


def kernels_of(config: Any) -> tuple[Kernel, ...]:
    """Return the kernels that the models of a configuration can use, their default first."""
    if config.model_type in _RELATIVE_FAMILIES:
        return ("eager", "batched")
    from transformers import AutoModelForQuestionAnswering

    family: Any = AutoModelForQuestionAnswering._model_mapping[type(config)]
    if family._supports_attention_backend:
        return ("sdpa", "batched", "eager") if family._supports_sdpa else ("eager", "batched")
    return ("eager",)


def check(config: Any, wish: str) -> None:
    """Check that a family has the kernel of `train.attention`.

    Raises:
        ConfigError: It has not.
    """
    known = kernels_of(config)
    if wish not in ("auto", *known):
        raise ConfigError(
            f"{config.model_type} models have no attention kernel {wish}.",
            f"Use --train.attention auto or {' or '.join(known)}.",
        )


def use(model: PreTrainedModel, kernel: Kernel) -> None:
    """Set the attention of a model in memory; its checkpoints stay as they are."""
    assert kernel in kernels_of(model.config), f"{model.config.model_type} has no {kernel} kernel"
    if model.config.model_type in _RELATIVE_FAMILIES:
        from qa_lib.models.relative_attention import set_batched

        set_batched(model, kernel == "batched")
        return
    name = _NAME if kernel == "batched" else kernel
    if model.config._attn_implementation == name:
        return
    _register()
    model.set_attn_implementation(name)


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    from qa_lib.models.batched_attention import attend

    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, _mask)


def _mask(**options: Any) -> torch.Tensor | None:
    """Return what transformers' mask for sdpa says: true where a token is seen.

    Where only padding is hidden it has the shape (windows, 1, 1, tokens), which tells
    `batched_attention` so.
    """
    from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

    real = options.get("attention_mask")  # (windows, tokens)
    if real is None or options.get("mask_function") is not bidirectional_mask_function:
        return sdpa_mask(**options)
    hides_nothing = options.get("allow_is_bidirectional_skip", False) and bool(real.all())
    return None if hides_nothing else real.bool()[:, None, None]
