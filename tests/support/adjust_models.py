"""Tiny random models of the adjustable families, and windows for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from transformers import (
    AlbertConfig,
    AutoModelForQuestionAnswering,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from qa_lib.adjust import Plan, Sizes, make_plan
from qa_lib.config import AdjustSettings

torch.set_num_threads(1)  # tiny tensors: on a busy machine a second thread is only waited for

VOCABULARY = 64
_COMMON = {"vocab_size": VOCABULARY, "max_position_embeddings": 40}
_WIDTHS = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    **_COMMON,
}

CONFIGS = {
    "bert": lambda: BertConfig(**_WIDTHS),
    "roberta": lambda: RobertaConfig(**_WIDTHS),
    "distilbert": lambda: DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=24, **_COMMON),
    "electra": lambda: ElectraConfig(embedding_size=16, **_WIDTHS),
    "electra-tied": lambda: ElectraConfig(embedding_size=32, **_WIDTHS),
    "xlm-roberta": lambda: XLMRobertaConfig(**_WIDTHS),
    "mpnet": lambda: MPNetConfig(**_WIDTHS),
    "albert": lambda: AlbertConfig(embedding_size=16, **_WIDTHS),
    "modernbert": lambda: ModernBertConfig(
        local_attention=4,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=0,
        cls_token_id=2,
        sep_token_id=0,
        **_WIDTHS,
    ),
    "deberta-v2": lambda: DebertaV2Config(  # as the published v3 models
        relative_attention=True,
        pos_att_type="p2c|c2p",
        position_buckets=8,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        **_WIDTHS,
    ),
    "deberta-v2-own": lambda: DebertaV2Config(
        relative_attention=True,
        pos_att_type="p2c|c2p",
        type_vocab_size=2,
        embedding_size=16,
        attention_head_size=8,
        **_WIDTHS,
    ),
}


def fitting(family: str, sizes: Sizes) -> Sizes:
    """Return the sizes, or the nearest ones that the family's configuration can express."""
    if family == "albert":  # which layers stay makes no difference: it has the same one again
        return replace(sizes, layers=tuple(range(len(sizes.layers))))
    if family == "modernbert":  # the first layer lacks a norm; rotary positions fix the head size
        layers = tuple(sorted({0, *sizes.layers[1:]}))
        return replace(sizes, layers=layers, hidden_size=8 * sizes.num_heads)
    return sizes


def plan_of(
    parent: PreTrainedModel,
    sizes: Sizes,
    batches: Iterable[dict[str, torch.Tensor]],
    *,
    seed: int = 0,
    vocabulary: tuple[int, ...] | None = None,
    **settings: Any,
) -> Plan:
    """Make a plan with settings of an adjustment as keywords."""
    return make_plan(
        parent,
        sizes,
        batches,
        AdjustSettings(**settings),
        parent_sha256="a" * 64,
        vocabulary=vocabulary,
        seed=seed,
    )


def reread(plan: Plan) -> Plan:
    """Return the plan after a round trip through its two files."""
    tensors = plan.fold.tensors
    return Plan.from_json(plan.to_json(), tensors=tensors and tensors.content)


def tiny(family: str, seed: int = 0) -> PreTrainedModel:
    """Build a model whose every tensor is random: an untouched LayerNorm would hide mistakes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return randomised(AutoModelForQuestionAnswering.from_config(CONFIGS[family]()))


def randomised(model: PreTrainedModel, scale: float = 0.3) -> PreTrainedModel:
    """Move every parameter of a model at random."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn_like(parameter)
    return model.eval()


def windows(num_windows: int = 4, num_tokens: int = 12, seed: int = 0) -> dict[str, torch.Tensor]:
    """Make a batch of random windows of different lengths, padded right."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    lengths = draw(num_tokens // 2, num_tokens + 1, num_windows)
    mask = (torch.arange(num_tokens) < lengths[:, None]).long()
    input_ids = draw(3, VOCABULARY, num_windows, num_tokens) * mask + (1 - mask)
    return {
        "input_ids": input_ids,
        "attention_mask": mask,
        "start_positions": draw(0, num_tokens // 2, num_windows),
        "end_positions": draw(0, num_tokens // 2, num_windows),
    }
