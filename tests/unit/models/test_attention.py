"""Attention by batched products: equal to torch's own, in every family that has kernels."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import CONFIG_MAPPING

from qa_lib import models
from qa_lib.errors import ConfigError
from qa_lib.models import attention
from qa_lib.models.batched_attention import batched_attention

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
OTHERS = {
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "modernbert": {"local_attention": 8, "pad_token_id": 0, "global_attn_every_n_layers": 2},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
}
FAMILIES = "bert roberta distilbert electra mpnet xlm-roberta albert deberta-v2 modernbert".split()


def make(family: str):
    """Build a small random model, and three windows of different lengths, padded on both sides."""
    torch.manual_seed(0)
    model = models.build(CONFIG_MAPPING[family](**SIZES | OTHERS.get(family, {}))).eval()
    tokens = torch.randint(3, 60, (3, 20))
    mask = torch.ones_like(tokens)
    mask[1, 12:] = 0
    mask[2, :5] = 0
    return model, {"input_ids": tokens, "attention_mask": mask}


def answers(model, kernel: str, inputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the logits of real tokens, and the gradients of their sum."""
    attention.use(model, kernel)
    model.zero_grad()
    logits = model(**inputs).start_logits * inputs["attention_mask"]
    logits.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_of_a_family_agree(family):
    model, inputs = make(family)
    first, *others = attention.kernels_of(model.config)
    assert "batched" in others
    logits, gradients = answers(model, first, inputs)
    for kernel in others:
        same_logits, same_gradients = answers(model, kernel, inputs)
        torch.testing.assert_close(same_logits, logits, rtol=1e-5, atol=1e-6)
        for name, gradient in gradients.items():
            difference = (same_gradients[name] - gradient).norm()
            assert difference <= 1e-5 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_weights_answer_as_nearly_as_bf16_can(family):
    model, inputs = make(family)
    attention.use(model, "batched")
    real = inputs["attention_mask"].bool()
    with torch.inference_mode():
        exact = model(**inputs).start_logits[real]
        rounded = model.bfloat16()(**inputs).start_logits[real]
    # A value has eight binary digits; some ten roundings lie between tokens and logits.
    assert 0 < (rounded - exact).norm() < 10 * 2**-9 * exact.norm()


def test_a_kernel_that_a_family_lacks_is_refused():
    with pytest.raises(ConfigError, match="mpnet models have no attention kernel sdpa"):
        attention.check(CONFIG_MAPPING["mpnet"](), "sdpa")


def test_a_checkpoint_names_no_kernel(tmp_path):
    model, _ = make("bert")
    attention.use(model, "batched")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert not [key for key in config if "attn" in key]


@pytest.mark.parametrize(
    "mask",
    [
        None,
        torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]]).bool()[:, None, None],
        torch.tensor([[1, 0, 1, 0, 1], [1, 1, 1, 1, 1]]).bool()[:, None, None],
        torch.ones(5, 5).tril().bool()[None, None],
    ],
    ids=["none", "padding", "holes", "causal"],
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_those_of_the_function(mask, dropout):
    torch.manual_seed(0)
    shapes = [(2, 3, 5, 4)] * 3 + [(1, 3, 5, 5)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def attend(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)  # the same dropout in every evaluation
        return batched_attention(*tensors, mask, 0.5, dropout)

    assert torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_its_share_and_the_mean(dtype):
    torch.manual_seed(0)
    queries = torch.zeros(1, 1, 1000, 2, dtype=dtype)  # every token is seen alike
    values = torch.eye(1000, dtype=dtype).view(1, 1, 1000, 1000)
    seen = batched_attention(queries, queries, values, None, None, 1.0, 0.1).float()
    assert float((seen == 0).float().mean()) == pytest.approx(0.1, abs=0.002)
    assert float(seen.sum() / 1000) == pytest.approx(1.0, abs=0.01)


def test_bf16_is_as_near_to_the_truth_as_torchs_own():
    torch.manual_seed(0)
    exact = [torch.randn(2, 4, 64, 32, dtype=torch.float64) for _ in range(3)]
    truth = torch.nn.functional.scaled_dot_product_attention(*exact)
    rounded = [each.bfloat16() for each in exact]
    fused = torch.nn.functional.scaled_dot_product_attention(*rounded)
    ours = batched_attention(*rounded, None, None, 32**-0.5, 0.0)
    errors = [float((each - truth).square().mean()) for each in (ours, fused)]
    assert errors[0] < 4 * errors[1]
