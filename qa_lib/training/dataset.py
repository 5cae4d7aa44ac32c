"""Ray Data: questions become windows on the cluster.

A dataset maps blocks of questions to blocks of token windows, which stay in Ray's object store as
Arrow tables (60 MB for SQuAD). Those of many questions go to storage instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lib import windows
from qa_lib.data import context_edges
from qa_lib.errors import DataError
from qa_lib.windows import shards
from qa_lib.windows.shards import Shard

_QUESTIONS_PER_BLOCK = 2500
_MAX_BLOCKS = 256  # a batch draws windows from all over the set: each block is one fetch
_MAX_QUESTIONS_HERE = 4000
_MAX_QUESTIONS_IN_MEMORY = 500_000
_QUESTIONS_PER_SHARD = 50_000
_NUM_THREADS = 16  # that wait for storage
TASK_CPUS = 0.25


@dataclass(frozen=True, eq=False)
class WindowSet:
    """All windows of a split, in (row, part) order, in the object store or on storage.

    Attributes:
        blocks: References to Arrow tables with the columns of `windows.build`, or shards of such.
        starts: (blocks,) int64, the window index of each block's first window.
        lengths: (windows,) int32, tokens of each window.
        too_long: Questions without a window, because they leave no room for context.
    """

    blocks: list[Any]
    starts: np.ndarray
    lengths: np.ndarray
    too_long: list[int]

    @property
    def num_windows(self) -> int:
        """Windows of the whole split."""
        return len(self.lengths)


def tokenize(
    questions: pa.Table,
    model_name: str,
    spec: windows.WindowSpec,
    *,
    offsets: bool,
    storage: str | None = None,
    first_row: int = 0,
) -> WindowSet:
    """Cut questions into windows, with Ray Data if there are many.

    Args:
        questions: Of the SQuAD schema.
        model_name: Whose tokenizer cuts.
        spec: Window length and stride.
        offsets: Keep the character offsets, which decoding needs and training does not.
        storage: Where runs are kept: the windows of more than half a million questions go there,
            and are found again. None keeps them in memory.
        first_row: Number of the first question, for the column `row`.

    Raises:
        DataError: No question fits a window.
    """
    import ray

    how: dict[str, Any] = {"model_name": model_name, "spec": spec, "offsets": offsets}
    if storage is not None and questions.num_rows > _MAX_QUESTIONS_IN_MEMORY:
        return _stored(questions, storage, how)
    if questions.num_rows <= _MAX_QUESTIONS_HERE:
        # A second of work: less than the start of other processes.
        (block,) = _blocks(questions, questions.num_rows, first_row)
        blocks = [ray.put(_tokenize_block(block, **how))]
    else:
        size = questions_per_block(questions.num_rows)
        cut = _mapped(_tokenize_block, _blocks(questions, size, first_row), how)
        blocks = cut.materialize().to_arrow_refs()
    pairs = zip(blocks, ray.get(blocks), strict=True)
    tables = [(ref, table) for ref, table in pairs if table.num_rows]
    if not tables:
        raise no_room(spec)
    rows = np.concatenate([table["row"].to_numpy() for _, table in tables])
    sizes = [table.num_rows for _, table in tables]
    has_window = np.zeros(questions.num_rows, bool)
    has_window[rows - first_row] = True
    return WindowSet(
        blocks=[ref for ref, _ in tables],
        starts=np.cumsum([0, *sizes[:-1]]),
        lengths=np.concatenate([table["length"].to_numpy() for _, table in tables]),
        too_long=np.flatnonzero(~has_window).tolist(),
    )


def fetch(blocks: Sequence[Any], numbers: Iterable[int]) -> dict[int, pa.Table | Shard]:
    """Return some blocks of a set by number: tables, or shards that are read when taken from."""
    import ray

    chosen = {number: blocks[number] for number in numbers}
    if any(isinstance(block, Shard) for block in chosen.values()):
        return chosen
    return dict(zip(chosen, ray.get(list(chosen.values())), strict=True))


def _stored(questions: pa.Table, storage: str, how: dict[str, Any]) -> WindowSet:
    """Cut questions into shards on storage; those that are there already are not cut again."""
    blocks = _blocks(questions, _QUESTIONS_PER_SHARD)
    places = _mapped(_store_block, blocks, how | {"storage": storage}).take_all()
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        shards = list(threads.map(Shard.open, [row["location"] for row in places]))
        lengths = list(threads.map(Shard.lengths, shards))
    held = [(shard, part) for shard, part in zip(shards, lengths, strict=True) if len(part)]
    if not held:
        raise no_room(how["spec"])
    return WindowSet(
        blocks=[shard for shard, _ in held],
        starts=np.cumsum([0, *(len(part) for _, part in held[:-1])]),
        lengths=np.concatenate([part for _, part in held]),
        too_long=[row for shard in shards for row in shard.too_long],
    )


def _mapped(function: Any, blocks: list[pa.Table], arguments: dict[str, Any]) -> Any:
    """Return a dataset of a function's results on blocks, in the order of the blocks."""
    import ray

    dataset = ray.data.from_blocks(blocks)  # `from_arrow` looks at each in a task of a whole CPU
    # Another order of blocks would change the window indices.
    dataset.context.execution_options.preserve_order = True
    return dataset.map_batches(
        function,
        fn_kwargs=arguments,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=TASK_CPUS * 2,
    )


def no_room(spec: windows.WindowSpec) -> DataError:
    """Return the error of questions of which none fits a window."""
    return DataError(
        f"No question leaves room for context in windows of {spec.max_length} tokens.",
        "Raise --data.max-length.",
    )


def questions_per_block(num_questions: int) -> int:
    """Return the size of a block: many enough to share the work, few enough to fetch."""
    return max(_QUESTIONS_PER_BLOCK, -(-num_questions // _MAX_BLOCKS))


def owners(starts: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the block of each window, (windows,) int64, given the blocks' first windows."""
    return np.searchsorted(starts, indices, side="right") - 1


def take(
    blocks: Sequence[pa.Table] | Mapping[int, pa.Table | Shard],
    starts: np.ndarray,
    indices: np.ndarray,
) -> pa.Table:
    """Gather windows from blocks by window index.

    Args:
        blocks: Arrow tables or shards by number; of a mapping, only the owners of the windows are
            read.
        starts: (blocks,) window index of each block's first row.
        indices: (windows,) int64, in any order, with repeats.

    Returns:
        The windows in the order of the indices.
    """
    owner = owners(starts, indices)
    order = np.argsort(owner, kind="stable")
    used, firsts = np.unique(owner[order], return_index=True)
    parts = [
        blocks[block].take(pa.array(members - starts[block]))
        for block, members in zip(used.tolist(), np.split(indices[order], firsts[1:]), strict=True)
    ]
    return pa.concat_tables(parts).combine_chunks().take(pa.array(np.argsort(order)))


def _tokenize_block(
    questions: pa.Table, *, model_name: str, spec: windows.WindowSpec, offsets: bool
) -> pa.Table:
    tokenizer = _tokenizer(model_name)
    table = windows.build(questions, tokenizer, spec, characters=offsets).table
    rows = questions["row"].take(table["row"])
    return table.set_column(table.schema.get_field_index("row"), "row", rows)


def _store_block(questions: pa.Table, *, storage: str, **how: Any) -> pa.Table:
    """Store the windows of a block of questions; return where."""
    place = shards.place_of(storage, questions, _tokenizer(how["model_name"]), how["spec"])

    def cut() -> tuple[pa.Table, list[int]]:
        table = _tokenize_block(questions, **how)
        rows = questions["row"].to_numpy()
        return table, np.setdiff1d(rows, table["row"].to_numpy()).tolist()

    return pa.table({"location": [shards.store(place, cut).location]})


@lru_cache(maxsize=2)
def _tokenizer(model_name: str) -> Any:
    from qa_lib.models import load_tokenizer

    return load_tokenizer(model_name)


def _blocks(questions: pa.Table, num_questions: int, first_row: int = 0) -> list[pa.Table]:
    """Cut questions into blocks at changes of context, and number their rows."""
    rows = np.arange(first_row, first_row + questions.num_rows, dtype=np.int32)
    table = questions.append_column("row", pa.array(rows))
    edges = context_edges(table["context"], num_questions)
    return [table.slice(a, b - a) for a, b in zip(edges, edges[1:], strict=False)]
