"""Read models, configurations and tokenizers from their folders, and write them.

Weights are read from safetensors only and remote code is never run, whatever the source.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ModelError
from qa_lib.machines import devices
from qa_lib.models import ragged
from qa_lib.models.guard import check_config, check_vocabulary, reading
from qa_lib.models.sources import ALTERNATIVES, resolve

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def load(
    name: str, *, seed: int = 0, dropout: float | None = None, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a model for extractive question answering, in evaluation mode, on the CPU.

    A checkpoint without a question-answering head (an encoder) gets one initialised from `seed`,
    the same on every machine. A ragged checkpoint (`qa_lib.models.ragged`) must hold every weight.

    Args:
        name: What `resolve` takes.
        seed: Seeds the initialisation of weights that the checkpoint lacks.
        dropout: Probability for every dropout of the model; None keeps the model's own.
        dtype: Of the weights; float32 if None.

    Raises:
        ModelError: It is not available or not for question answering, or it lacks safetensors.
    """
    import torch
    from transformers import AutoModelForQuestionAnswering

    path, config = resolve(name), load_config(name)
    if dropout is not None:
        set_dropout(config, dropout)
    with _reading(name), torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        if ragged.blocks_of(config) is not None:
            model = _read_ragged(path, config).to(dtype or torch.float32)  # type: ignore[arg-type]
        else:
            model = AutoModelForQuestionAnswering.from_pretrained(
                path,
                config=config,
                dtype=dtype or torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
            )
    return model.eval()


def set_dropout(config: Any, dropout: float) -> None:
    """Set the probability of every dropout of a configuration."""
    for key in [key for key in config.to_dict() if key.endswith(("dropout", "dropout_prob"))]:
        setattr(config, key, dropout)


def _reading(name: str) -> AbstractContextManager[None]:
    return reading(f"{name} does not load", ALTERNATIVES)


def _read_ragged(folder: str, config: Any) -> PreTrainedModel:
    """Build a ragged model, and read all of its weights."""
    from safetensors.torch import load_file

    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError("it has no *.safetensors weights.")
    model = build(config)
    weights = {key: tensor for file in files for key, tensor in load_file(file).items()}
    model.load_state_dict(weights, strict=True, assign=True)
    return model


def build(config: Any) -> PreTrainedModel:
    """Build the question-answering model of a configuration, ragged or stock.

    Its weights are drawn from torch's global generator.
    """
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_config(config)
    ragged.reshape(model)
    return model


def is_ragged(name: str) -> bool:
    """Whether a model's layers have different widths, which stock transformers cannot load."""
    return ragged.blocks_of(load_config(name)) is not None


def load_config(name: str) -> Any:
    """Load a model's transformers configuration.

    Raises:
        ModelError: It is not available, or its architecture has no question-answering form.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

    folder = resolve(name)
    with _reading(name):
        check_config(folder)
        config = ragged.read_config(folder)
        if config is not None:
            return config
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type not in MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES:
        raise ModelError(
            f"{name} is a {config.model_type} model, which has no extractive question-answering "
            "form in transformers.",
            "Use an encoder such as BERT, RoBERTa, XLM-RoBERTa, DistilBERT, ELECTRA, MPNet, "
            "ALBERT, DeBERTa-v2 or ModernBERT.",
        )
    return config


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Load a model's fast tokenizer.

    Raises:
        ModelError: It has none. Windows need character offsets, which slow tokenizers lack.
    """
    from transformers import AutoConfig, AutoTokenizer

    folder = Path(resolve(name))
    with reading(
        f"The tokenizer of {name} does not load",
        "Put tokenizer.json and tokenizer_config.json beside the weights.",
    ):
        # Without these files, transformers makes a tokenizer of special tokens only.
        if not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
            raise FileNotFoundError("it has no tokenizer files.")
        check_config(folder)
        config = ragged.read_config(folder) or AutoConfig.from_pretrained(
            folder, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
        check_vocabulary(tokenizer, config)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{name} has only a slow tokenizer, which gives no character offsets.",
            "Convert it to a fast tokenizer (tokenizer.json) and save it beside the weights.",
        )
    # A sentence encoder may truncate (the embedded one at 128 tokens), which would cut contexts
    # silently: windows have their own length.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer  # type: ignore[return-value]


def load_empty(name: str) -> PreTrainedModel:
    """Build a model on the meta device: shapes without weights."""
    import torch

    config = load_config(name)
    with _reading(name), torch.device("meta"):
        return build(config)


def has_answering_head(name: str) -> bool:
    """Whether a checkpoint holds the weights of its question-answering head.

    Raises:
        ModelError: It is not available, or its architecture has no question-answering form.
    """
    from safetensors import safe_open

    model = load_empty(name)
    inside = f"{model.base_model_prefix}."
    head = {key for key in model.state_dict() if not key.startswith(inside)}
    for file in Path(resolve(name)).glob("*.safetensors"):
        with reading(f"{file} is damaged", ALTERNATIVES), safe_open(file, "numpy") as stored:
            head -= set(stored.keys())
    return not head


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    directory: str | Path,
    state_dict: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write a checkpoint, stock unless the model is ragged, with its tokenizer.

    Args:
        model: The architecture, and the weights if `state_dict` is None.
        tokenizer: Written beside it.
        directory: A local folder, created if absent.
        state_dict: Weights to write in place of the model's own (gathered from ZeRO shards).
    """
    devices.name_deepspeed_device()
    with quiet():
        model.save_pretrained(directory, state_dict=state_dict)
        tokenizer.save_pretrained(directory)
    ragged.mark_folder(model.config, directory)


def fingerprint(name: str) -> str:
    """Return the SHA-256 of a model's configuration and weights: its identity in caches and plans.

    Raises:
        ModelError: It is not available, or has no safetensors.
    """
    path = Path(resolve(name))
    digest = hashlib.sha256()
    files = [path / "config.json", *sorted(path.glob("*.safetensors"))]
    if len(files) == 1:
        raise ModelError(f"{name} has no *.safetensors weights.", ALTERNATIVES)
    for file in files:
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the load reports and progress bars of transformers."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars and not os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"):
            logging.enable_progress_bar()
