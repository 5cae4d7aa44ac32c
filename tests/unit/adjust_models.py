"""Tiny random models of the adjustable families, and windows for them."""

from __future__ import annotations

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedModel,
    RobertaConfig,
)

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
}


def tiny(family: str, seed: int = 0) -> PreTrainedModel:
    """Build a model whose every tensor is random: an untouched LayerNorm would hide mistakes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForQuestionAnswering.from_config(CONFIGS[family]())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
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
