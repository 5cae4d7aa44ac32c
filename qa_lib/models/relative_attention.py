"""Batched attention in families that do not ask transformers for a kernel: MPNet and DeBERTa-v2.

Both add learned biases of relative positions to the scores, in code of their own. Here that code
stands again with the batched products in place of its inner part.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch

from qa_lib.models.batched_attention import attend


def set_batched(model: Any, wished: bool) -> None:
    """Give the attention modules of a model in memory their batched forward pass, or their own."""
    methods = _METHODS[model.config.model_type]
    for module in model.modules():
        for name, method in methods.get(type(module).__name__, {}).items():
            module.__dict__.pop(name, None)
            if wished:
                setattr(module, name, MethodType(method, module))


def _mpnet(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    output_attentions: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, ...]:
    """Attend as MPNetSelfAttention.forward does."""
    if output_attentions:
        return type(self).forward(self, hidden_states, attention_mask, position_bias, True)
    shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
    query, key, value = (
        layer(hidden_states).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v)
    )
    # The mask is additive, and the same for every query.
    mask = None if attention_mask is None else attention_mask[:, :, :1] == 0
    dropout = self.dropout.p if self.training else 0.0
    output, _none = attend(self, query, key, value, mask, dropout, position_bias=position_bias)
    return (self.o(output.flatten(2)),)


def _mpnet_position_bias(self: Any, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """Return the bias of one window, which is that of every window: (1, heads, tokens, tokens).

    MPNetEncoder copies it for each, and each layer would add to the gradient of all the copies.
    """
    bias: torch.Tensor = type(self).compute_position_bias(self, x[:1], *args, **options)
    return bias


def _deberta_v2(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor,
    output_attentions: bool = False,
    query_states: torch.Tensor | None = None,
    relative_pos: torch.Tensor | None = None,
    rel_embeddings: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend as DisentangledSelfAttention.forward does."""
    if output_attentions:
        return type(self).forward(
            self, hidden_states, attention_mask, True, query_states, relative_pos, rel_embeddings
        )
    num_heads = self.num_attention_heads
    queries = hidden_states if query_states is None else query_states
    states = (
        (self.query_proj, queries),
        (self.key_proj, hidden_states),
        (self.value_proj, hidden_states),
    )
    # Each (windows x heads, tokens, head size).
    query, key, value = (
        self.transpose_for_scores(layer(each), num_heads) for layer, each in states
    )
    num_terms = 1 + sum(name in self.pos_att_type for name in ("c2p", "p2c"))
    bias = None
    if self.relative_attention:
        bias = self.disentangled_attention_bias(
            query, key, relative_pos, self.pos_dropout(rel_embeddings), num_terms
        ).unflatten(0, (-1, num_heads))
    # The mask of padding as queries too, whose outputs nobody reads.
    mask = attention_mask.bool().any(-2, keepdim=True)
    output, _none = attend(
        self,
        query.unflatten(0, (-1, num_heads)),
        key.unflatten(0, (-1, num_heads)),
        value.unflatten(0, (-1, num_heads)),
        mask,
        self.dropout.p if self.training else 0.0,
        (query.shape[-1] * num_terms) ** -0.5,
        position_bias=bias,
    )
    return output.flatten(2), None


_METHODS: dict[str, dict[str, dict[str, Callable[..., Any]]]] = {
    "mpnet": {
        "MPNetSelfAttention": {"forward": _mpnet},
        "MPNetEncoder": {"compute_position_bias": _mpnet_position_bias},
    },
    "deberta-v2": {"DisentangledSelfAttention": {"forward": _deberta_v2}},
}
"""By family and class of a module, what replaces its methods."""
