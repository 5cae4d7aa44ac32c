"""What a checkpoint's weights are, and the proof that a model holds them and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.errors import ModelError
from qa_lib.models.guard import reading
from qa_lib.models.sources import ALTERNATIVES
from qa_lib.runs import json_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Modules around a model, or around a part of it, that were saved with it: of torch.compile, data
# parallelism, FSDP, activation checkpointing.
_WRAPPERS = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Attributes that held the whole model: of Lightning modules and of sentence-transformers.
_HOLDERS = {"model", "auto_model", "0"}
_MOST_NAMES = 4  # in a message


def shapes(folder: str | Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in a folder's safetensors, from their headers.

    Raises:
        ModelError: A file is damaged, or one that the index names is missing.
    """
    from safetensors import safe_open

    _check_index(Path(folder))
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        with reading(f"{file} is damaged", ALTERNATIVES), safe_open(file, "numpy") as stored:
            for key in stored.keys():
                found[key] = tuple(stored.get_slice(key).get_shape())
    return found


def _check_index(folder: Path) -> None:
    """Reject weights in several files of which one is missing."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return
    with reading(f"{index} is damaged", ALTERNATIVES):
        places = json_text.parse(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(map(str, places.values())))
    lost = [name for name in names if not (folder / name).is_file()]
    if lost:
        raise ModelError(
            f"{folder} lacks {_some(lost)}, which model.safetensors.index.json names.",
            "Copy all files of the model into the folder.",
        )


def read_unwrapped(folder: str | Path, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Read all tensors of a folder under other names, as `unwrapped` gives them."""
    from safetensors.torch import load_file

    files = sorted(Path(folder).glob("*.safetensors"))
    return {names[key]: tensor for file in files for key, tensor in load_file(file).items()}


def unwrapped(keys: Collection[str], model: PreTrainedModel) -> dict[str, str]:
    """Return each stored name without the wrappers that the model was saved in.

    Args:
        keys: Names of the stored tensors.
        model: What they are for; names that it has are no wrappers.
    """
    parts = {part for key in model.state_dict() for part in key.split(".")}
    wrappers = _WRAPPERS - parts
    paths = {key: [part for part in key.split(".") if part not in wrappers] for key in keys}
    own = {model.base_model_prefix, *(name for name, _ in model.named_children())}
    own |= {name for name, _ in model.base_model.named_children()}
    while len(heads := {path[0] for path in paths.values() if path}) == 1:
        if not heads <= _HOLDERS - own:
            break
        paths = {key: path[1:] for key, path in paths.items()}
    names = {key: ".".join(path) for key, path in paths.items()}
    # Two models in one file: which one is meant is not to be guessed.
    return names if len(set(names.values())) == len(names) else {key: key for key in keys}


def head_of(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's question-answering head: what lies outside of its encoder."""
    inside = f"{model.base_model_prefix}."
    has_encoder = model.base_model is not model  # T5's parts lie side by side
    return {
        key: tuple(tensor.shape)
        for key, tensor in model.state_dict().items()
        if (not key.startswith(inside) if has_encoder else key.startswith("qa_outputs."))
    }


def prove(name: str, model: PreTrainedModel, info: dict[str, Any]) -> None:
    """Check that a model came from its checkpoint whole, and the checkpoint went into the model.

    The question-answering head may be missing, or of another number of labels. Left out may be
    heads for other tasks: what lies outside of the encoder, and its pooler.

    Args:
        name: Of the model, for messages.
        model: As loaded.
        info: What transformers' `from_pretrained` tells with `output_loading_info`.

    Raises:
        ModelError: A tensor is missing, has no place, or has another shape.
    """
    head = head_of(model)
    missing = {key for key in info["missing_keys"] if key not in head}
    shaped = {key for key, *_ in info["mismatched_keys"] if key not in head}
    extra = {key for key in info["unexpected_keys"] if _is_of_encoder(key, model)}
    problems = [
        f"{len(keys):,} tensors {what} ({_some(keys)})"
        for what, keys in (
            ("of the model are not in the file", missing),
            ("of the file have no place in the model", extra),
            ("of the file have other shapes than the model's", shaped),
        )
        if keys
    ]
    if problems:
        raise ModelError(
            f"{name} does not load: {'; '.join(problems)}.",
            "config.json and the weights are not of one model: restore the one that is wrong.",
        )


def _is_of_encoder(key: str, model: PreTrainedModel) -> bool:
    path = key.removeprefix(f"{model.base_model_prefix}.").split(".")
    return hasattr(model.base_model, path[0]) and path[0] != "pooler"


def _some(keys: Iterable[str]) -> str:
    first = sorted(keys)
    rest = len(first) - _MOST_NAMES
    return ", ".join(first[:_MOST_NAMES]) + (f" and {rest:,} more" if rest > 0 else "")
