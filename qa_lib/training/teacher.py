"""Teacher logits: computed once by a pool of actors, cached, and attached to the windows.

The cache is addressed by content (the teacher's weights and the tokens of the windows), so every
later run over the same windows, for example each trial of a search, distils for free. A pass that
was interrupted goes on after the parts that it has stored.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib import models, windows
from qa_lib.config import Settings, TrainSettings
from qa_lib.errors import ModelError
from qa_lib.machines.actors import ActorPool
from qa_lib.models.inference import Forward
from qa_lib.runs import manifest, storage
from qa_lib.runs.folder import Damaged, Folder, StoredFile
from qa_lib.training.dataset import WindowSet, take
from qa_lib.windows.list_arrays import as_lists, flat

if TYPE_CHECKING:
    import torch

START, END = "teacher_start", "teacher_end"
_WINDOWS_PER_PART = 2048
_LOGITS = pa.schema([(name, pa.list_(pa.float16())) for name in (START, END)])


def attach(settings: Settings, window_set: WindowSet) -> tuple[WindowSet, dict[str, Any]]:
    """Give every window its teacher's logits.

    Args:
        settings: `train.teacher` names the teacher.
        window_set: The windows to train on.

    Returns:
        The windows with list columns `teacher_start` and `teacher_end` (float16, one value per
        token); and for result.json the numbers of computed and cached windows, and the seconds.

    Raises:
        ModelError: The teacher's vocabulary is not the student's.
    """
    import ray

    assert settings.train.teacher is not None
    ids = numbers(settings.train.teacher, settings.model.name)
    started = time.monotonic()
    blocks = ray.get(window_set.blocks)
    renumbered = [_renumbered(block, ids) for block in blocks]
    key = _key(settings.train, renumbered)
    folder = storage.join(settings.storage, "cache", f"teacher-{key}")
    tasks = _tasks(window_set)
    cache = _Cache(Folder(folder), [task.num_rows for task in tasks])
    parts, num_computed = cache.read(), 0
    missing = tasks[len(parts) :]
    if missing:
        refs = window_set.blocks if ids is None else [ray.put(block) for block in renumbered]
        for part in _compute(settings, window_set, refs, missing):
            cache.add(part)
            parts.append(part)
            num_computed += part.num_rows
    logits = pa.concat_tables(parts)
    taught, first = [], 0
    for block in blocks:
        rows = logits.slice(first, block.num_rows).combine_chunks()
        for name in (START, END):
            block = block.append_column(name, rows[name])
        taught.append(ray.put(block))
        first += block.num_rows
    facts = {
        "teacher": settings.train.teacher,
        "teacher_logits": folder,
        "num_teacher_windows_computed": num_computed,
        "num_teacher_windows_cached": window_set.num_windows - num_computed,
        "teacher_seconds": round(time.monotonic() - started, 2),
    }
    return replace(window_set, blocks=taught), facts


def collate(table: pa.Table, width: int) -> dict[str, torch.Tensor]:
    """Pad the teacher's logits as `windows.collate` pads the windows.

    Args:
        table: Windows with the teacher's columns; without them nothing is returned.
        width: Tokens of the padded windows.

    Returns:
        `teacher_start_logits` and `teacher_end_logits`, float32 of shape (windows, tokens), 0 on
        padding, which the loss masks.
    """
    import torch

    if START not in table.column_names:
        return {}
    counts = windows.lengths(table)
    real = np.arange(width) < counts[:, None]  # (windows, tokens)
    batch = {}
    for name in (START, END):
        logits = np.zeros(real.shape, np.float32)
        logits[real] = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        batch[f"{name}_logits"] = torch.from_numpy(logits)
    return batch


def _key(train: TrainSettings, blocks: list[pa.Table]) -> str:
    """Name the logits by what they depend on; `auto` stands for one precision of many."""
    assert train.teacher is not None
    digest = hashlib.sha256(models.fingerprint(train.teacher).encode())
    if train.precision != "auto":
        digest.update(train.precision.encode())
    for block in blocks:
        digest.update(np.ascontiguousarray(windows.lengths(block)).tobytes())
        for chunk in block["input_ids"].chunks:
            digest.update(chunk.flatten().to_numpy().tobytes())
    return digest.hexdigest()[:24]


def check(teacher: str, student: str) -> None:
    """Check that a teacher can teach a student.

    Raises:
        ModelError: The student has tokens that the teacher lacks, or splits text in another way.
    """
    numbers(teacher, student)


def numbers(teacher: str, student: str) -> np.ndarray | None:
    """Return the teacher's id of each of the student's token ids, or None where all are equal.

    A student with a shortened vocabulary has other ids for some of the teacher's tokens. The
    teacher reads the student's own tokens, so that every logit belongs to the token it teaches.

    Raises:
        ModelError: The student has tokens that the teacher lacks, or splits text in another way:
            logits of other tokens would teach nonsense.
    """
    one, other = (models.load_tokenizer(name) for name in (teacher, student))
    known, tokens = one.get_vocab(), other.get_vocab()
    if known == tokens:
        return None
    if _scheme(one) != _scheme(other) or not tokens.keys() <= known.keys():
        raise ModelError(
            f"The teacher {teacher} and the model {student} have different vocabularies.",
            "Use a teacher with the model's tokenizer, such as the model it was adjusted from.",
        )
    ids = np.zeros(max(tokens.values()) + 1, np.int32)
    ids[list(tokens.values())] = [known[token] for token in tokens]
    return ids


def _scheme(tokenizer: Any) -> list[Any]:
    """Return the parts of a tokenizer that decide how it splits text, without its vocabulary."""
    scheme = json.loads(tokenizer.backend_tokenizer.to_str())
    return [scheme["normalizer"], scheme["pre_tokenizer"], scheme["model"]["type"]]


def _renumbered(block: pa.Table, numbers: np.ndarray | None) -> pa.Table:
    """Replace the token ids of windows by the teacher's."""
    if numbers is None:
        return block
    ids, _ = flat(block["input_ids"])
    lists = as_lists(numbers[ids], windows.lengths(block))
    return block.set_column(block.schema.get_field_index("input_ids"), "input_ids", lists)


def _tasks(window_set: WindowSet) -> list[pa.Table]:
    """Return the windows of each part of the logits, by index."""
    ends = [*window_set.starts[1:].tolist(), window_set.num_windows]
    return [
        pa.table({"window_index": np.arange(first, min(first + _WINDOWS_PER_PART, end))})
        for start, end in zip(window_set.starts.tolist(), ends, strict=True)
        for first in range(start, end, _WINDOWS_PER_PART)
    ]


def _compute(
    settings: Settings, window_set: WindowSet, blocks: Sequence[Any], tasks: list[pa.Table]
) -> Iterator[pa.Table]:
    """Yield the logits of each task, computed by a pool of actors."""
    pool = ActorPool.of(settings)
    load = partial(_load_teacher, settings, pool.device, blocks, window_set.starts)
    return pool.run(load, tasks, title="teacher", unit="windows")


def _load_teacher(
    settings: Settings,
    device: str,
    blocks: Sequence[Any],
    starts: np.ndarray,
    num_threads: int,
) -> Callable[[pa.Table], pa.Table]:
    """Load the teacher in an actor; return what computes the logits of windows, given indices."""
    import ray

    assert settings.train.teacher is not None
    forward = Forward(
        settings.train.teacher,
        device=device,
        precision=settings.train.precision,
        attention=settings.train.attention,
        batch_size=settings.evaluate.batch_size,
        num_threads=num_threads,
        placement=settings.model.placement,
        max_memory=settings.model.max_memory,
        casts=True,
    )
    tables = ray.get(blocks)

    def compute(task: pa.Table) -> pa.Table:
        table = take(tables, starts, task["window_index"].to_numpy())
        indices, start_lists, end_lists = [], [], []
        for rows, start, end in forward(
            table.append_column("n", pa.array(np.arange(table.num_rows)))
        ):
            counts = windows.lengths(rows)
            indices.append(rows["n"].to_numpy())
            start_lists.append(_lists(start, counts))
            end_lists.append(_lists(end, counts))
        back = pa.array(np.argsort(np.concatenate(indices)))
        arrays = [pa.concat_arrays(parts).take(back) for parts in (start_lists, end_lists)]
        return pa.table(arrays, schema=_LOGITS)

    return compute


def _lists(logits: np.ndarray, counts: np.ndarray) -> pa.ListArray:
    """Return (windows, tokens) logits as lists of each window's real tokens."""
    values = logits[np.arange(logits.shape[1]) < counts[:, None]].astype(np.float16)
    return as_lists(values, counts)


class _Cache:
    """The parts of the logits in a folder, whose manifest is written again after each."""

    def __init__(self, folder: Folder, sizes: list[int]) -> None:
        """Attach to a folder that holds, in the end, parts of these numbers of windows."""
        self._folder, self._sizes = folder, sizes
        self._files: list[StoredFile] = []

    def read(self) -> list[pa.Table]:
        """Return the parts that are stored; none where one of them is damaged or cut otherwise."""
        try:
            files = manifest.read(self._folder).files
            contents = [self._folder.read_checked(file) for file in files]
        except Damaged:
            return []
        parts = [pq.read_table(pa.BufferReader(content), schema=_LOGITS) for content in contents]
        if [part.num_rows for part in parts] != self._sizes[: len(parts)]:
            return []
        self._files = list(files)
        return parts

    def add(self, part: pa.Table) -> None:
        """Store the next part."""
        name = f"part-{len(self._files):05d}.parquet"
        self._files.append(self._folder.write_parquet(name, part))
        manifest.write(self._folder, self._files)
