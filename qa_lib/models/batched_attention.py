"""Attention as batched matrix products, for CPUs on which torch's fused kernel is slower."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers asks its kernels to.

    Args:
        module: The layer.
        query: (windows, heads, tokens, head size), as key and value.
        key: Keys.
        value: Values.
        attention_mask: Boolean, true where a token is seen; broadcasts to (windows, heads, tokens,
            tokens). None hides nothing.
        dropout: Probability that an attention probability is dropped.
        scaling: Factor of the products; one over the root of the head size if None.
        position_bias: Added to the scaled products; broadcasts like the mask.

    Returns:
        (windows, tokens, heads, head size), and no probabilities.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    device = query.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        query, key, value = (each.to(dtype) for each in (query, key, value))
    if position_bias is not None:
        position_bias = position_bias.to(query.dtype)
    with torch.autocast(device, enabled=False):
        output = batched_attention(
            query, key, value, position_bias, attention_mask, scaling, dropout
        )
    return output.transpose(1, 2), None


class _BatchedAttention(torch.autograd.Function):
    """Softmax attention and its gradients by `bmm`; probabilities are kept for the backward pass.

    Products and softmax accumulate in float32. The factor of dropout is part of the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor | None,
        mask: torch.Tensor | None,
        scaling: float,
        dropout: float,
    ) -> torch.Tensor:
        shape = query.shape
        query, key, value = (each.reshape(-1, *each.shape[2:]) for each in (query, key, value))
        scores = _product(query, key.mT, scaling)
        whole = scores.view(*shape[:3], -1)
        if bias is not None:
            whole += bias
        if mask is not None:
            _hide(whole, mask)
        probabilities = torch.softmax(scores, -1, out=scores)
        seen = _drop(probabilities, dropout) if dropout > 0.0 else probabilities
        ctx.save_for_backward(query, key, value, probabilities, seen)
        ctx.shape, ctx.bias_shape = shape, None if bias is None else bias.shape
        ctx.scaling, ctx.factor = scaling, 1.0 / (1.0 - dropout)
        return _product(seen, value, ctx.factor).view(*shape[:3], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, probabilities, seen = ctx.saved_tensors
        gradient = gradient.reshape(-1, *gradient.shape[2:])
        of_scores = _product(gradient, value.mT, ctx.factor)
        if ctx.factor > 1.0:  # a probability of zero has no gradient, dropped or not
            of_scores = torch.ops.aten.threshold_backward(of_scores, seen, 0.0)
        of_value = _product(seen.mT, gradient, ctx.factor)
        dtype = probabilities.dtype
        of_scores = torch._softmax_backward_data(of_scores, probabilities, -1, dtype)
        of_query = _product(of_scores, key, ctx.scaling)
        of_key = _product(of_scores.mT, query, ctx.scaling)
        of_bias = None
        if ctx.needs_input_grad[3]:
            of_bias = of_scores.view(*ctx.shape[:3], -1).sum_to_size(ctx.bias_shape)
        heads = ctx.shape[:2]
        of_inputs = (each.view(*heads, *each.shape[1:]) for each in (of_query, of_key, of_value))
        return *of_inputs, of_bias, None, None, None


batched_attention = _BatchedAttention.apply
"""Attention of (windows, heads, tokens, head size), which is the shape of its result too."""


def _product(a: torch.Tensor, b: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the products of two batches of matrices, times a factor."""
    product = a.new_empty(len(a), a.shape[1], b.shape[2])
    return torch.baddbmm(product, a, b, beta=0, alpha=factor, out=product)


def _drop(values: torch.Tensor, dropout: float) -> torch.Tensor:
    """Set values to zero at random: on a CPU several times as fast as torch's dropout.

    Random bits without a sign, read as floating-point numbers, are ordered as they are as integers
    (NaN counts as large), so that the backward pass of a threshold compares them in one pass.
    """
    integer = _INTEGERS[values.element_size()]
    largest = torch.iinfo(integer).max
    num_words = -(-values.nbytes // 8)
    words = torch.empty(num_words, dtype=torch.int64, device=values.device)
    words.random_(-(2**63), None)
    numbers = words.view(integer)[: values.numel()]
    numbers &= largest
    threshold = torch.tensor(int(dropout * largest), dtype=integer).view(values.dtype)
    numbers = numbers.view(values.dtype).view(values.shape)
    return torch.ops.aten.threshold_backward(values, numbers, float(threshold))


def _hide(scores: torch.Tensor, mask: torch.Tensor) -> None:
    """Lower the scores of tokens that are not seen, in place.

    Where a mask hides padding only, the rest of the scores is not touched: windows of a batch have
    similar lengths, so that padding is a small part.
    """
    lowest = torch.finfo(scores.dtype).min
    if mask.shape[1:3] != (1, 1):
        scores.masked_fill_(~mask, lowest)
        return
    real = mask[:, 0, 0].expand(len(scores), -1)  # (windows, tokens)
    first = real.to(torch.uint8).argmax(-1)
    past = first + real.sum(-1)
    positions = torch.arange(real.shape[1], device=real.device)
    inside = (positions >= first[:, None]) & (positions < past[:, None])
    if not torch.equal(inside, real):  # hidden tokens between real ones
        scores.masked_fill_(~mask, lowest)
        return
    for window, (start, end) in enumerate(zip(first.tolist(), past.tolist(), strict=True)):
        scores[window, :, :, :start] = lowest
        scores[window, :, :, end:] = lowest
