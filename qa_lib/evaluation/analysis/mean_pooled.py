"""The commonest sentence encoder, the mean of a transformer's last states, by transformers alone.

sentence-transformers takes three to six seconds to import.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib.machines import lean_imports

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS_PER_BATCH = 32


class MeanPooled:
    """The mean over a text's tokens of the last hidden states."""

    def __init__(self, folder: Path, max_seq_length: int) -> None:
        """Load weights and tokenizer.

        Args:
            folder: Of a transformers checkpoint, with safetensors.
            max_seq_length: Tokens at which texts are cut, special ones included.
        """
        from transformers import AutoModel, AutoTokenizer

        lean_imports.spare_scipy()
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self.max_seq_length = max_seq_length
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        self._tokenizer.padding_side = "right"  # positions count from the first token
        self._model = AutoModel.from_pretrained(folder, use_safetensors=True, **options).eval()

    def encode(self, texts: Sequence[str], **_: Any) -> NDArray[np.float32]:
        """Return (texts, width) float32 embeddings of length 1."""
        import torch
        from torch.nn import functional

        parts = []
        for first in range(0, len(texts), _TEXTS_PER_BATCH):
            inputs = self._tokenizer(
                [text.strip() for text in texts[first : first + _TEXTS_PER_BATCH]],
                padding=True,
                truncation=True,
                max_length=self.max_seq_length,
                return_tensors="pt",
            )
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            with torch.inference_mode():
                states = self._model(**inputs).last_hidden_state.float()
            means = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
            parts.append(functional.normalize(means, dim=1).numpy())
        return np.concatenate(parts)


def read(folder: Path) -> MeanPooled | None:
    """Load an encoder of sentence-transformers, or return None where it is more than a mean.

    Args:
        folder: With `modules.json`.
    """
    modules = _read_json(folder / "modules.json")
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        return None
    if any(not module["type"].startswith("sentence_transformers.") for module in modules):
        return None
    text = _read_json(folder / modules[0]["path"] / "sentence_bert_config.json")
    pooling = _read_json(folder / modules[1]["path"] / "config.json")
    modes = {name for name, value in pooling.items() if "pooling_mode_" in name and value}
    is_mean = pooling.get("pooling_mode") == "mean" or modes == {"pooling_mode_mean_tokens"}
    has_prompt = _read_json(folder / "config_sentence_transformers.json").get("default_prompt_name")
    if not is_mean or has_prompt or text.get("do_lower_case") or not text.get("max_seq_length"):
        return None
    return MeanPooled(folder / modules[0]["path"], text["max_seq_length"])


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
