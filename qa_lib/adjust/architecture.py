"""Configurations of other sizes, and the tensors that a configuration describes."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from qa_lib.adjust.families import family_of
from qa_lib.adjust.groups import Role
from qa_lib.models import build
from qa_lib.models.ragged import blocks_of, mark

Shapes = dict[str, tuple[int, ...]]


def resized(config: Any, hidden_size: int, num_heads: int) -> Any:
    """Return a copy of a configuration with another hidden size and heads, and what they imply."""
    family = family_of(config)
    before = config.hidden_size
    tied = [key for key in family.tied_to_hidden if getattr(config, key, None) == before]
    values = dict.fromkeys(tied, hidden_size)
    if hasattr(config, family.head_size_key or "-"):
        values[family.head_size_key] = hidden_size // num_heads
    return changed(config, hidden_size=hidden_size, num_attention_heads=num_heads, **values)


def with_layers(config: Any, layers: Sequence[int]) -> Any:
    """Return a copy of a configuration with these of its layers, in this order."""
    family = family_of(config)
    lists = {key: [getattr(config, key)[index] for index in layers] for key in family.per_layer}
    blocks = blocks_of(config)
    config = changed(config, num_hidden_layers=len(layers), **lists)
    return mark(config, blocks and blocks.of(layers))


def with_vocabulary(config: Any, size: int) -> Any:
    """Return a copy of a configuration with this many tokens, its padding token among them."""
    pad = config.pad_token_id
    return changed(config, vocab_size=size, pad_token_id=pad if pad is None else min(pad, size - 1))


def shapes_of(config: Any) -> Shapes:
    """Return the shape of every tensor of the model that a configuration describes."""
    return _shapes(type(config), config.to_json_string(use_diff=False))  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _shapes(config_class: Any, text: str) -> Shapes:
    return architecture(config_class.from_dict(json.loads(text)))[0]


def changed(config: Any, **values: Any) -> Any:
    """Return a copy of a configuration with other values."""
    config = copy.deepcopy(config)
    for key, value in values.items():
        setattr(config, key, value)
    return config


def architecture(config: Any) -> tuple[Shapes, Any]:
    """Build a model on the meta device; return its shapes, and the role of each dimension."""
    import torch

    with torch.device("meta"):
        model = build(config)
    modules = dict(model.named_modules())

    def role(tensor: str, dim: int) -> Role:
        module = modules[split(tensor)[0]]
        if isinstance(module, torch.nn.LayerNorm):
            return "normalises"
        return "reads" if isinstance(module, torch.nn.Linear) and dim == 1 else "writes"

    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, role


def split(tensor: str) -> tuple[str, str]:
    """Split a tensor's name into its module's and its own."""
    module, _, parameter = tensor.rpartition(".")
    return module, parameter
