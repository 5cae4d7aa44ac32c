"""Sizes of models: widths, numbers of parameters, and the longest window."""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ConfigError
from qa_lib.models.interface import Interface
from qa_lib.models.loading import build, load_config
from qa_lib.models.sources import resolve
from qa_lib.models.weights import shapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def maximum_length(config: Any) -> int | None:
    """Return the number of tokens that a model's positions can hold, or None if unbounded."""
    return _interface(config).max_length


def check_length(name: str, max_length: int) -> None:
    """Check that a model's positions can hold windows of a length.

    Raises:
        ConfigError: The windows are longer.
        ModelError: The model is not available, or its architecture has no question-answering form.
    """
    longest = maximum_length(load_config(name))
    if longest is not None and max_length > longest:
        raise ConfigError(
            f"--data.max-length {max_length} exceeds the {longest} positions of {name}.",
            f"Use --data.max-length {longest} or less.",
        )


def positions_follow_padding(config: Any) -> bool:
    """Whether a family's position ids start after the padding's token id, as RoBERTa's do."""
    return _interface(config).positions_follow_padding


def _interface(config: Any) -> Interface:
    """Inspect the model of a configuration; once for those that differ in widths alone."""
    import torch

    values = config.to_dict()
    bounds = {key: values[key] for key in values if any(part in key for part in _BOUNDS)}
    key = json.dumps([config.model_type, bounds], sort_keys=True, default=str)
    if key not in _interfaces:
        with torch.device("meta"):
            _interfaces[key] = Interface.of(build(config))
    return _interfaces[key]


_BOUNDS = ("position", "vocab", "pad_token", "seq_len")  # parts of the keys that set them
_interfaces: dict[str, Interface] = {}


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """Return a model's family, widths and number of parameters (shared tensors counted once)."""
    config = model.config
    attributes = {
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "hidden_size": "hidden_size",
        "intermediate_size": "intermediate_size",
        "vocabulary_size": "vocab_size",
    }
    widths = {key: getattr(config, a) for key, a in attributes.items() if hasattr(config, a)}
    return {"family": config.model_type, **widths, "num_parameters": num_parameters(model)}


def num_parameters(model: PreTrainedModel) -> int:
    """Count a model's parameters, shared tensors once, and whole where ZeRO 3 partitions them."""
    return sum(getattr(weight, "ds_numel", weight.numel()) for weight in model.parameters())


def num_stored_parameters(name: str) -> int:
    """Count the values in a checkpoint's safetensors, from their headers: no model is built.

    Raises:
        ModelError: It is not available, or a file is damaged.
    """
    return sum(map(prod, shapes(resolve(name)).values()))


def num_matrix_parameters(model: PreTrainedModel) -> int:
    """Count the weights of linear layers, with which every token is multiplied; no embeddings."""
    import torch

    return sum(
        module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear)
    )
