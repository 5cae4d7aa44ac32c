"""Models, configurations and tokenizers read from their folders, and written.

Weights are read from safetensors only and remote code is never run, whatever the source.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ModelError
from qa_lib.models import ragged
from qa_lib.models.sources import ALTERNATIVES, resolve
from qa_lib.runs.storage import first_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def load(
    name: str, *, seed: int = 0, dropout: float | None = None, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a model for extractive question answering, in evaluation mode, on the CPU.

    A checkpoint without a question-answering head (an encoder) gets one initialised from `seed`,
    the same on every machine. A ragged checkpoint (`qa_lib.models.ragged`) holds every weight, and
    no other one is accepted.

    Args:
        name: What `resolve` takes.
        seed: Seeds the initialisation of weights that the checkpoint lacks.
        dropout: Probability for every dropout of the model; None keeps the model's own.
        dtype: Of the weights; float32 where None.

    Raises:
        ModelError: It cannot be had, has no safetensors, or is no question-answering architecture.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForQuestionAnswering

    path = resolve(name)
    config = load_config(name)
    if dropout is not None:
        for key in [key for key in config.to_dict() if key.endswith(("dropout", "dropout_prob"))]:
            setattr(config, key, dropout)
    if ragged.blocks_of(config) is not None:
        return _load_ragged(name, config, dtype or torch.float32)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        try:
            model = AutoModelForQuestionAnswering.from_pretrained(
                path,
                config=config,
                dtype=dtype or torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{name} does not load: {first_line(error)}", ALTERNATIVES) from None
    return model.eval()


def _load_ragged(name: str, config: Any, dtype: torch.dtype) -> PreTrainedModel:
    """Build a ragged model, and load all of its weights."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(Path(resolve(name)).glob("*.safetensors"))
    if not files:
        raise ModelError(f"{name} has no *.safetensors weights.", ALTERNATIVES)
    with torch.random.fork_rng(devices=[]):
        model = build(config)
    try:
        state = {key: each for file in files for key, each in load_file(file).items()}
        model.load_state_dict(state, strict=True, assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        problem = " ".join(lines[:2])
        raise ModelError(f"{name} does not load: {problem}", ALTERNATIVES) from None
    return model.to(dtype).eval()  # type: ignore[arg-type]


def build(config: Any) -> PreTrainedModel:
    """Build the question-answering model that a configuration describes, ragged or stock.

    Its weights are drawn from torch's generator: fork that, or load others.
    """
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_config(config)
    ragged.reshape(model)
    return model


def is_ragged(name: str) -> bool:
    """Say whether a model's layers have different widths, which stock transformers cannot load."""
    return ragged.blocks_of(load_config(name)) is not None


def load_config(name: str) -> Any:
    """Load a model's transformers configuration.

    Raises:
        ModelError: It cannot be had, or belongs to no question-answering architecture.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

    config = ragged.read_config(resolve(name))
    if config is not None:
        return config
    try:
        config = AutoConfig.from_pretrained(resolve(name), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be loaded: {first_line(error)}", ALTERNATIVES) from None
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
        ModelError: There is none; windows need character offsets, which slow tokenizers lack.
    """
    from transformers import AutoTokenizer

    # Where there is none, transformers makes one of special tokens only, to which all is unknown.
    folder = Path(resolve(name))
    if not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        raise ModelError(
            f"{name} has no tokenizer.",
            "Put tokenizer.json and tokenizer_config.json beside the weights.",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=ragged.read_config(folder), trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name} has no tokenizer that loads: {first_line(error)}",
            "Put tokenizer.json and tokenizer_config.json beside the weights.",
        ) from None
    if not tokenizer.is_fast:
        raise ModelError(
            f"{name} has only a slow tokenizer, which gives no character offsets.",
            "Convert it to a fast tokenizer (tokenizer.json) and save it beside the weights.",
        )
    # A published sentence encoder carries its own truncation (128 tokens for the embedded one),
    # which would cut contexts silently: windows decide their own length.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer  # type: ignore[return-value]


def load_empty(name: str) -> PreTrainedModel:
    """Build a model's architecture on the meta device: shapes, and no weights."""
    import torch

    with torch.device("meta"):
        return build(load_config(name))


def has_answering_head(name: str) -> bool:
    """Say whether a checkpoint holds the weights of its question-answering head.

    Raises:
        ModelError: It cannot be had, or belongs to no question-answering architecture.
    """
    from safetensors import safe_open

    model = load_empty(name)
    inside = f"{model.base_model_prefix}."
    head = {key for key in model.state_dict() if not key.startswith(inside)}
    for file in Path(resolve(name)).glob("*.safetensors"):
        with safe_open(file, framework="numpy") as stored:
            head -= set(stored.keys())
    return not head


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    directory: str | Path,
    state_dict: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write a checkpoint: config.json, model.safetensors and the tokenizer's files.

    It is a stock one, unless the model is ragged.

    Args:
        model: Gives the architecture, and the weights where `state_dict` is None.
        tokenizer: Written beside it.
        directory: A local folder; made where absent.
        state_dict: Weights to write in place of the model's own (gathered from ZeRO shards).
    """
    with quiet():
        model.save_pretrained(directory, state_dict=state_dict)
        tokenizer.save_pretrained(directory)
    ragged.mark_folder(model.config, directory)


def fingerprint(name: str) -> str:
    """Return the SHA-256 of a model's configuration and weights: its identity in caches and plans.

    Raises:
        ModelError: It cannot be had, or has no safetensors.
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


class quiet:  # noqa: N801 - reads as a statement: `with quiet():`
    """Silence transformers' load reports, which tell users what we already know."""

    def __enter__(self) -> None:
        """Silence them."""
        from transformers.utils import logging

        self.verbosity = logging.get_verbosity()
        self.bars = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        """Let them speak as before."""
        from transformers.utils import logging

        logging.set_verbosity(self.verbosity)
        if self.bars and not os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"):
            logging.enable_progress_bar()
