"""The boundary to files of models: limits first, and every failure in two lines.

What a checkpoint holds decides which code of transformers, safetensors and tokenizers runs, and
these raise whatever Python has: TypeError, KeyError, ZeroDivisionError, a panic of Rust.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qa_lib.errors import ModelError, UserError
from qa_lib.runs import json_text

_MAX_CONFIG_BYTES = 16 * 2**20
_LIMITS = {"layer": 1_000, "group": 1_000, "num_labels": 100_000, "position": 10_000_000}
"""Largest whole number in a config.json, by a part of the key: each costs time or memory."""


@contextmanager
def reading(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises about a model's files into a ModelError.

    Args:
        what: Names the file or model, and ends in a verb: "MODEL does not load".
        remedy: What the user can do.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except BaseException as error:
        # A panic of Rust code is no Exception, and its class cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{what}: {_reason(error)}", remedy) from None


def check_config(folder: str | Path) -> None:
    """Check a config.json against limits, before a library builds what it describes.

    Raises:
        ValueError: It is too large, no JSON object, exceeds a limit, or is of quantised weights.
    """
    path = Path(folder) / "config.json"
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_CONFIG_BYTES // 2**20} MiB.")
    try:
        values = json_text.parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid JSON: {error}.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} holds no JSON object.")
    for key, value in values.items():
        for part, limit in _LIMITS.items():
            if part in key and isinstance(value, int) and value > limit:
                raise ValueError(f"{key} in {path.name} is {value:,}; at most {limit:,} is built.")
    if values.get("quantization_config") is not None:
        raise ValueError(
            f"{path.name} has a quantization_config: quantised weights are not supported."
        )


def _reason(error: BaseException) -> str:
    """Return the first two lines of a message, joined; a bare message such as 0 gets its type.

    The first line alone says too little of missing weights (torch) and wrong fields.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()[:2]]
    text = " ".join(lines)[:300]
    if isinstance(error, (OSError, ValueError, RuntimeError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
