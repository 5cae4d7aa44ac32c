"""Teacher logits: computed once over the cluster, stored as Arrow beside the windows.

They are addressed by content (the teacher's weights and the very tokens of the windows), so every
later run over the same windows, for example each trial of a search, distils for free.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib import models, windows
from qa_lib.config import Settings
from qa_lib.errors import ModelError
from qa_lib.machines.allocation import MODEL_ACTOR_CPUS, allocate, growth, num_model_actors
from qa_lib.models.inference import Forward
from qa_lib.runs import storage
from qa_lib.runs.progress import Progress
from qa_lib.training.dataset import WindowSet
from qa_lib.windows.list_arrays import as_lists, flat

if TYPE_CHECKING:
    import torch

START, END = "teacher_start", "teacher_end"
_MANIFEST = "manifest.json"
_WINDOWS_PER_PART = 2048
_LOGITS = pa.schema([(name, pa.list_(pa.float16())) for name in (START, END)])


def attach(settings: Settings, window_set: WindowSet) -> tuple[WindowSet, dict[str, Any]]:
    """Give every window its teacher's logits.

    Args:
        settings: `train.teacher` names the teacher.
        window_set: The windows to be trained on.

    Returns:
        The windows with list columns `teacher_start` and `teacher_end` (float16, one value per
        token), and for result.json how many were computed, how many found, and the seconds taken.

    Raises:
        ModelError: The teacher's vocabulary is not the student's.
    """
    import ray

    assert settings.train.teacher is not None
    numbers = _numbers(settings.train.teacher, settings.model.name)
    started = time.monotonic()
    blocks = ray.get(window_set.blocks)
    asked = [_renumbered(block, numbers) for block in blocks]
    folder = f"{settings.storage}/cache/teacher-{_key(settings.train.teacher, asked)}"
    parts, num_computed = _read(folder), 0
    if parts is None:
        refs = window_set.blocks if numbers is None else [ray.put(block) for block in asked]
        parts = _compute(settings, refs, window_set.num_windows)
        _write(folder, parts)
        num_computed = window_set.num_windows
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
    return WindowSet(
        taught, window_set.starts, window_set.lengths, window_set.rows, window_set.too_long
    ), facts


def collate(table: pa.Table, pad: windows.PadSpec, width: int) -> dict[str, torch.Tensor]:
    """Pad the teacher's logits as `windows.collate` pads the windows.

    Args:
        table: Windows with the teacher's columns; without them nothing is returned.
        pad: The student tokenizer's padding.
        width: Tokens of the padded windows.

    Returns:
        `teacher_start_logits` and `teacher_end_logits`, float32 of shape (windows, tokens), zero on
        padding, which the loss masks.
    """
    import torch

    if START not in table.column_names:
        return {}
    counts = windows.lengths(table)
    position = np.arange(width) - pad.before(counts, width)[:, None]
    real = (position >= 0) & (position < counts[:, None])
    batch = {}
    for name in (START, END):
        logits = np.zeros(real.shape, np.float32)
        logits[real] = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        batch[f"{name}_logits"] = torch.from_numpy(logits)
    return batch


def _key(teacher: str, blocks: list[pa.Table]) -> str:
    digest = hashlib.sha256(models.fingerprint(teacher).encode())
    for block in blocks:
        digest.update(np.ascontiguousarray(windows.lengths(block)).tobytes())
        for chunk in block["input_ids"].chunks:
            digest.update(chunk.flatten().to_numpy().tobytes())
    return digest.hexdigest()[:24]


def _numbers(teacher: str, student: str) -> np.ndarray | None:
    """Return the teacher's number of each of the student's tokens, or None where all are the same.

    A student whose vocabulary was shortened knows some of the teacher's tokens by other numbers. It
    reads text that its corpus covers as the teacher does, token for token; the teacher is asked
    about the student's tokens in any case, so that every logit is that of the token it teaches.

    Raises:
        ModelError: The student has tokens that the teacher does not know, or reads text otherwise:
            logits of other tokens would teach nonsense.
    """
    one, other = (models.load_tokenizer(name) for name in (teacher, student))
    known, tokens = one.get_vocab(), other.get_vocab()
    if known == tokens:
        return None
    if _reading(one) != _reading(other) or not tokens.keys() <= known.keys():
        raise ModelError(
            f"The teacher {teacher} and the model {student} have different vocabularies.",
            "Use a teacher with the model's tokenizer, such as the model it was adjusted from.",
        )
    numbers = np.zeros(max(tokens.values()) + 1, np.int32)
    numbers[list(tokens.values())] = [known[token] for token in tokens]
    return numbers


def _reading(tokenizer: Any) -> list[Any]:
    """Return what decides how a tokenizer reads text, but for its vocabulary."""
    scheme = json.loads(tokenizer.backend_tokenizer.to_str())
    return [scheme["normalizer"], scheme["pre_tokenizer"], scheme["model"]["type"]]


def _renumbered(block: pa.Table, numbers: np.ndarray | None) -> pa.Table:
    """Give windows the teacher's numbers of their tokens."""
    if numbers is None:
        return block
    ids, _ = flat(block["input_ids"])
    lists = as_lists(numbers[ids], windows.lengths(block))
    return block.set_column(block.schema.get_field_index("input_ids"), "input_ids", lists)


class _Teacher:
    """An actor of Ray Data: windows in, their logits out, in the order they came."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._forward = Forward(**options)

    def __call__(self, table: pa.Table) -> pa.Table:
        indices, starts, ends = [], [], []
        numbered = table.append_column("n", pa.array(np.arange(table.num_rows)))
        for rows, start, end in self._forward(numbered):
            counts = windows.lengths(rows)
            indices.append(rows["n"].to_numpy())
            starts.append(_lists(start, counts))
            ends.append(_lists(end, counts))
        back = pa.array(np.argsort(np.concatenate(indices)))
        arrays = [pa.concat_arrays(parts).take(back) for parts in (starts, ends)]
        return pa.table(arrays, schema=_LOGITS)


def _lists(logits: np.ndarray, counts: np.ndarray) -> pa.ListArray:
    values = logits[np.arange(logits.shape[1]) < counts[:, None]].astype(np.float16)
    return as_lists(values, counts)


def _compute(settings: Settings, blocks: list[Any], num_windows: int) -> list[pa.Table]:
    import ray

    device = allocate(settings.train, growth(settings)).device
    derived = num_model_actors(device, growth(settings))
    num_actors = settings.evaluate.num_actors or derived
    options = {
        "model_name": settings.train.teacher,
        "device": device,
        "batch_size": settings.evaluate.batch_size,
    }
    dataset = ray.data.from_arrow_refs(blocks)
    dataset.context.execution_options.preserve_order = True
    taught = dataset.map_batches(
        _Teacher,
        fn_constructor_args=[options],
        batch_size=_WINDOWS_PER_PART,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=num_actors),
        num_cpus=MODEL_ACTOR_CPUS,
        num_gpus=1 if device == "cuda" else 0,
    )
    parts: list[pa.Table] = []
    done, started = 0, time.monotonic()
    with Progress(num_windows, "windows", "teacher") as progress:
        for part in taught.iter_batches(batch_size=None, batch_format="pyarrow"):
            assert isinstance(part, pa.Table)
            parts.append(part)
            done += part.num_rows
            progress.update(done, windows_per_s=done / (time.monotonic() - started))
    assert done == num_windows, "the teacher missed windows"
    return parts


def _read(folder: str) -> list[pa.Table] | None:
    filesystem, root = storage.resolve(folder)
    from pyarrow.fs import FileType

    if filesystem.get_file_info(f"{root}/{_MANIFEST}").type != FileType.File:
        return None
    with filesystem.open_input_stream(f"{root}/{_MANIFEST}") as stream:
        names = json.loads(stream.read())["parts"]
    parts = []
    for name in names:
        with filesystem.open_input_file(f"{root}/{name}") as file:
            parts.append(pq.read_table(file, schema=_LOGITS))
    return parts


def _write(folder: str, parts: list[pa.Table]) -> None:
    """Write the parts, and the manifest that makes them valid last."""
    filesystem, root = storage.resolve(folder)
    filesystem.create_dir(root, recursive=True)
    names = [f"part-{number:05d}.parquet" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        with filesystem.open_output_stream(f"{root}/{name}") as file:
            pq.write_table(part, file)
    storage.write_text(filesystem, f"{root}/{_MANIFEST}", json.dumps({"parts": names}))
