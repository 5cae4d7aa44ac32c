"""A run's model on the Hugging Face hub: checkpoint, tokenizer and card in one commit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.errors import ConfigError, ModelError, ResourceError
from qa_lib.models.card import card_for, header_of
from qa_lib.runs.run_folder import RunFolder
from qa_lib.runs.storage import first_line

_PATTERNS = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    models.ANSWERING,
    "onnx/*",
)


def preview(settings: Settings) -> dict[str, Any]:
    """Return what would be written: repository, files with bytes, and the card's metadata.

    Raises:
        ConfigError: No repository is named, or the hub takes none of that name.
        ModelError: The run has no model or no card.
    """
    repo, card, files = _prepared(settings)
    return {
        "repo": repo,
        "files": {name: path.stat().st_size for name, path in files.items()},
        "card": header_of(card),
    }


def push(settings: Settings) -> str:
    """Write a run's model to the hub, and return the address of the commit.

    The hub's endpoint is HF_ENDPOINT's, the token HF_TOKEN's or that of `hf auth login`.

    Raises:
        ConfigError: As of `preview`; or the token may not write the repository.
        ModelError: The run has no model or no card.
        ResourceError: The hub does not answer.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    repo, card, files = _prepared(settings)
    disable_progress_bars()
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    operations.append(CommitOperationAdd("README.md", card.encode()))
    try:
        api.create_repo(repo, private=not settings.push.public, exist_ok=True)
        commit = api.create_commit(
            repo,
            operations,
            commit_message=f"Model of {RunFolder(settings.model.name, 'push').name}",
        )
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", 401)
        if status in (401, 403, 404):
            raise ConfigError(
                f"The hub does not let this token write {repo}: {first_line(error)}",
                "Set HF_TOKEN to a token with write access to it, or run `hf auth login`.",
            ) from None
        raise _unreachable(error) from None
    except (HTTPError, OSError) as error:  # of the transport
        raise _unreachable(error) from None
    return str(commit.commit_url)


def _prepared(settings: Settings) -> tuple[str, str, dict[str, Path]]:
    """Return the repository, the card, and the files by their names there."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repo, name = settings.push.repo, settings.model.name
    if repo is None:
        raise ConfigError("No repository is named.", "Give --push.repo USER/NAME.")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(
            f"The hub takes no such name: {first_line(error)}",
            "Give --push.repo USER/NAME with another name.",
        ) from None
    run = RunFolder(name, "push")
    card = card_for(run, repo, license=settings.push.license, language=settings.push.language)
    folder = Path(models.resolve(name))
    files = {
        str(path.relative_to(folder)): path
        for pattern in _PATTERNS
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(f"{name} has no *.safetensors weights.", "Name a run that is done.")
    return repo, card, files


def _unreachable(error: Exception) -> ResourceError:
    return ResourceError(
        f"The hub does not take the model: {first_line(error)}",
        "Look at its status and at this machine's network, and push again: what is there already "
        "is not sent twice.",
    )
