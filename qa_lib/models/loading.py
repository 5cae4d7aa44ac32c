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
from qa_lib.machines import devices, lean_imports
from qa_lib.models import ragged, weights
from qa_lib.models.families import UNSUPPORTED
from qa_lib.models.guard import check_config, reading
from qa_lib.models.interface import Interface
from qa_lib.models.sources import ALTERNATIVES, resolve

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def load(
    name: str, *, seed: int = 0, dropout: float | None = None, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a model for extractive question answering, in evaluation mode, on the CPU.

    The weights of the model are those of the file, all of them, under the names of wrappers too
    (`weights.prove`). A checkpoint without a question-answering head (an encoder) gets one
    initialised from `seed`, the same on every machine; `check_answers` refuses it. A ragged
    checkpoint (`qa_lib.models.ragged`) must hold every weight.

    Args:
        name: What `resolve` takes.
        seed: Seeds the initialisation of weights that the checkpoint lacks.
        dropout: Probability for every dropout of the model; None keeps the model's own.
        dtype: Of the weights; float32 if None.

    Raises:
        ModelError: It is not available or not for question answering, it lacks safetensors, or
            configuration and weights are not of one model.
    """
    import torch

    path, config = resolve(name), load_config(name)
    if dropout is not None:
        set_dropout(config, dropout)
    with _reading(name), torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        if ragged.blocks_of(config) is not None:
            model = _read_ragged(path, config).to(dtype or torch.float32)  # type: ignore[arg-type]
        else:
            model = _read_stock(name, path, config, dtype or torch.float32)
    return model.eval()


def set_dropout(config: Any, dropout: float) -> None:
    """Set the probability of every dropout of a configuration."""
    for key in [key for key in config.to_dict() if key.endswith(("dropout", "dropout_prob"))]:
        setattr(config, key, dropout)


def _read_stock(name: str, folder: str, config: Any, dtype: torch.dtype) -> PreTrainedModel:
    import torch
    from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING

    model_class: Any = MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(config)]
    with torch.device("meta"):
        names = weights.unwrapped(weights.shapes(folder), model_class(config))
    is_wrapped = any(key != own for key, own in names.items())
    model, info = model_class.from_pretrained(
        None if is_wrapped else folder,
        state_dict=weights.read_unwrapped(folder, names) if is_wrapped else None,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # judged by `prove`
        output_loading_info=True,
    )
    weights.prove(name, model, info)
    return model


def _reading(name: str) -> AbstractContextManager[None]:
    return reading(f"{name} does not load", ALTERNATIVES)


def _read_ragged(folder: str, config: Any) -> PreTrainedModel:
    """Build a ragged model, and read all of its weights."""
    names = {key: key for key in weights.shapes(folder)}
    if not names:
        raise FileNotFoundError("it has no *.safetensors weights.")
    model = build(config)
    model.load_state_dict(weights.read_unwrapped(folder, names), strict=True, assign=True)
    return model


def build(config: Any) -> PreTrainedModel:
    """Build the question-answering model of a configuration, ragged or stock.

    Its weights are drawn from torch's global generator, and float32, as those of all models here.
    """
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_config(config).float()
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

    lean_imports.spare_scipy()
    folder = resolve(name)
    with _reading(name):
        check_config(folder)
        ragged_config = ragged.read_config(folder)
        config = ragged_config or AutoConfig.from_pretrained(folder, trust_remote_code=False)
        # What a caller wanted of the outputs is no part of a model; and transformers saves none
        # whose attention cannot return its weights.
        config.output_attentions = config.output_hidden_states = False
        config.return_dict = True
        if ragged_config is not None:
            return ragged_config
        config.num_labels = 2  # start and end, whatever task the checkpoint was for
    if config.model_type not in MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES:
        raise ModelError(
            f"{name} is a {config.model_type} model, which has no extractive question-answering "
            "form in transformers.",
            "Use an encoder such as BERT, RoBERTa, XLM-RoBERTa, DistilBERT, ELECTRA, MPNet, "
            "ALBERT, DeBERTa-v2 or ModernBERT.",
        )
    if config.model_type in UNSUPPORTED:
        raise ModelError(
            f"{name} is a {config.model_type} model, which is not supported:"
            f" {UNSUPPORTED[config.model_type]}.",
            "Use a model of a family in docs/reference/families.md.",
        )
    return config


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Load a model's fast tokenizer, set to make what the model takes.

    It pads on the right, does not truncate, and makes token types only for a model that tells them
    apart.

    Raises:
        ModelError: It has none, or makes tokens that the model lacks. Windows need character
            offsets, which slow tokenizers lack.
    """
    from transformers import AutoTokenizer

    folder = Path(resolve(name))
    with reading(
        f"The tokenizer of {name} does not load",
        "Put tokenizer.json and tokenizer_config.json beside the weights.",
    ):
        # Without these files, transformers makes a tokenizer of special tokens only.
        if not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
            raise FileNotFoundError("it has no tokenizer files.")
        check_config(folder)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=ragged.read_config(folder), trust_remote_code=False
        )
    if not tokenizer.is_fast:
        raise ModelError(
            f"{name} has only a slow tokenizer, which gives no character offsets.",
            "Convert it to a fast tokenizer (tokenizer.json) and save it beside the weights.",
        )
    # A sentence encoder may truncate (the embedded one at 128 tokens), which would cut contexts
    # silently: windows have their own length.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.padding_side = "right"
    _fit(tokenizer, name)
    return tokenizer  # type: ignore[return-value]


def _fit(tokenizer: Any, name: str) -> None:
    """Set a tokenizer's token types to those of its model, and check its vocabulary."""
    takes = Interface.of(load_empty(name))
    largest = max(tokenizer.get_vocab().values(), default=0)
    if takes.vocabulary_size is not None and largest >= takes.vocabulary_size:
        raise ModelError(
            f"The tokenizer of {name} has a token {largest}, but the model has embeddings for "
            f"{takes.vocabulary_size} tokens.",
            "Use the tokenizer that the model was trained with, or resize the embeddings.",
        )
    if not takes.takes_types:
        names = tokenizer.model_input_names
        tokenizer.model_input_names = [each for each in names if each != "token_type_ids"]


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
    model, stored = load_empty(name), weights.shapes(resolve(name))
    if not stored:
        raise ModelError(f"{name} has no *.safetensors weights.", ALTERNATIVES)
    names = weights.unwrapped(stored, model)
    found = {names[key]: shape for key, shape in stored.items()}
    return all(found.get(key) == shape for key, shape in weights.head_of(model).items())


def check_answers(name: str) -> None:
    """Reject a model that was never trained to answer: its answers would be noise.

    Raises:
        ModelError: It has no question-answering head of two labels, or is not available.
    """
    if not has_answering_head(name):
        raise ModelError(
            f"{name} has no question-answering head: it was never trained to answer.",
            "Give --model.name a run folder (`make train` makes one) or a model that was.",
        )


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
