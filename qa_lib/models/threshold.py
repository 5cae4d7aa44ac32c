"""The no-answer threshold, a part of a model: found by its evaluation, kept beside its weights."""

from __future__ import annotations

import math
from pathlib import Path

from qa_lib.errors import ModelError
from qa_lib.models.sources import resolve
from qa_lib.runs import json_text
from qa_lib.runs.folder import Folder

ANSWERING = "answering.json"
"""File beside config.json: `no_answer_threshold`, and the evaluation that found it."""


def no_answer_threshold(name: str) -> float | None:
    """Return the threshold that a model's evaluation by SQuAD 2.0's rules found, if any.

    Returns:
        Sums of logits: a question has no answer where that of "no answer" exceeds the best span's
        by more than this. None where the model has no threshold.

    Raises:
        ModelError: The model is not available, or its file is damaged.
    """
    found = _read(name)
    return None if found is None else found[0]


def num_threshold_questions(name: str) -> int:
    """Return on how many questions a model's threshold was found; 0 without one, or if unknown.

    Raises:
        ModelError: As of `no_answer_threshold`.
    """
    found = _read(name)
    return 0 if found is None else found[1]


def _read(name: str) -> tuple[float, int] | None:
    file = Path(resolve(name)) / ANSWERING
    if not file.is_file():
        return None
    try:
        values = json_text.parse(file.read_text(encoding="utf-8"))
        threshold = float(values["no_answer_threshold"])
        if not math.isfinite(threshold):
            raise ValueError(f"no_answer_threshold is {threshold}")
        count = int(values.get("num_questions") or 0)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ModelError(
            f"{file} does not hold a no_answer_threshold: {type(error).__name__}: {error}.",
            "Evaluate the model again on SQuAD 2.0 questions, or delete the file.",
        ) from None
    return threshold, count


def keep_no_answer_threshold(name: str, threshold: float, **found: object) -> bool:
    """Write a model's threshold into its folder.

    Args:
        name: A run folder, or a folder with a checkpoint, here or at a URL.
        threshold: As `no_answer_threshold` returns it.
        **found: Facts about the evaluation.

    Returns:
        Whether it was written: not for the embedded model or one of the hub, nor where this user
        may not write.
    """
    content = {"no_answer_threshold": threshold, **found}
    if name == "embedded":
        return False
    try:
        folder = Folder(str(Path(name).expanduser()) if "://" not in name else name)
        for place in (folder.child("model"), folder):
            if place.exists("config.json"):
                place.write_json(ANSWERING, content, indent=2)
                if "://" in name:  # this process has a copy
                    Folder(resolve(name)).write_json(ANSWERING, content, indent=2)
                return True
    except OSError:
        pass
    return False
