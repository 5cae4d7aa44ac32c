"""What a run is trained from, by content: its windows, the starting model, the teacher.

Names stay while what they name is replaced; a resumed run must go on with the same.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.errors import CheckpointError
from qa_lib.training.dataset import fetch
from qa_lib.windows.list_arrays import as_numpy, flat
from qa_lib.windows.shards import Shard

SOURCES = "sources"
"""Name of the fingerprints among the notes of a checkpoint."""


def fingerprints(settings: Settings, blocks: Sequence[Any]) -> dict[str, str]:
    """Return the SHA-256 of everything that a training reads.

    Args:
        settings: Name the starting model and the teacher.
        blocks: Of a WindowSet: the windows, in their order.

    Returns:
        By `windows`, `model` and, where there is one, `teacher`.
    """
    tables = list(fetch(blocks, range(len(blocks))).values())
    found = {"windows": content_sha256(tables), "model": models.fingerprint(settings.model.name)}
    if settings.train.teacher:
        found["teacher"] = models.fingerprint(settings.train.teacher)
    return found


def content_sha256(blocks: Sequence[pa.Table | Shard]) -> str:
    """Hash windows: tokens, answers and positions, but not where the blocks begin.

    Characters are left out: training does not read them. Of shards, one column at a time is read.
    """
    digest = hashlib.sha256()
    names = blocks[0].column_names if blocks else []
    for name in sorted(name for name in names if not name.startswith("char_")):
        digest.update(name.encode())
        parts: list[Callable[[pa.ChunkedArray], np.ndarray]] = [as_numpy]
        if pa.types.is_list(blocks[0][name].type):
            parts = [lambda lists: np.diff(flat(lists)[1]), lambda lists: flat(lists)[0]]
        for part in parts:
            for block in blocks:
                digest.update(np.ascontiguousarray(part(block[name])).data)
    return digest.hexdigest()


def refuse_others(
    directory: str, meta: dict[str, Any], sources: dict[str, str], settings: Settings
) -> None:
    """Refuse to continue a checkpoint that was trained from something else.

    Args:
        directory: Of the checkpoint.
        meta: Its notes.
        sources: What `fingerprints` returned now.
        settings: Of the run.

    Raises:
        CheckpointError: The windows, the model or the teacher are not those of the checkpoint.
    """
    saved = meta.get(SOURCES)
    if saved is None:
        print(
            f"note: {directory} is of an earlier version, which did not record the content of data"
            " and models: only settings and the lengths of the windows are compared.",
            file=sys.stderr,
        )
        return
    names = {
        "windows": f"the training windows of --data.source {settings.data.source}",
        "model": f"the starting model --model.name {settings.model.name}",
        "teacher": f"the teacher --train.teacher {settings.train.teacher}",
    }
    if "held_out" in saved and "held_out" in sources:  # earlier versions did not record it
        names["held_out"] = "the held-out questions that choose the best model, or their rules"
    changed = [name for kind, name in names.items() if saved.get(kind) != sources.get(kind)]
    if changed:
        raise CheckpointError(
            f"{directory} was trained from other content: {' and '.join(changed)} changed since.",
            "Put back what was there when the run began, or start a new run.",
        )
