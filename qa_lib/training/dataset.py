"""Ray Data: questions become windows on the cluster.

A dataset maps blocks of questions to blocks of token windows, which stay in Ray's object store as
Arrow tables (60 MB for SQuAD).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib import windows
from qa_lib.data import context_edges
from qa_lib.errors import DataError

if TYPE_CHECKING:
    from ray import ObjectRef

_QUESTIONS_PER_BLOCK = 2500
_MAX_BLOCKS = 256  # a batch draws windows from all over the set: each block is one fetch
_MAX_QUESTIONS_HERE = 4000
TASK_CPUS = 0.25


@dataclass(frozen=True, eq=False)
class WindowSet:
    """All windows of a split, in (row, part) order, in the object store.

    Attributes:
        blocks: Arrow tables with the columns of `windows.build`.
        starts: (blocks,) int64, the window index of each block's first window.
        lengths: (windows,) int32, tokens of each window.
        rows: (windows,) int32, the question of each window.
        too_long: Questions without a window, because they leave no room for context.
    """

    blocks: list[ObjectRef]
    starts: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray
    too_long: list[int]

    @property
    def num_windows(self) -> int:
        """Windows of the whole split."""
        return len(self.lengths)


def tokenize(
    questions: pa.Table, model_name: str, spec: windows.WindowSpec, *, offsets: bool
) -> WindowSet:
    """Cut questions into windows, with Ray Data if there are many.

    Args:
        questions: Of the SQuAD schema.
        model_name: Whose tokenizer cuts.
        spec: Window length and stride.
        offsets: Keep the character offsets, which decoding needs and training does not.

    Raises:
        DataError: No question fits a window.
    """
    import ray

    how: dict[str, Any] = {"model_name": model_name, "spec": spec, "offsets": offsets}
    if questions.num_rows <= _MAX_QUESTIONS_HERE:
        # A second of work: less than the start of other processes.
        (block,) = _blocks(questions, questions.num_rows)
        blocks = [ray.put(_tokenize_block(block, **how))]
    else:
        dataset = ray.data.from_arrow(_blocks(questions, questions_per_block(questions.num_rows)))
        # Another order of blocks would change the window indices.
        dataset.context.execution_options.preserve_order = True
        cut = dataset.map_batches(
            _tokenize_block,  # type: ignore[arg-type]
            fn_kwargs=how,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=TASK_CPUS * 2,
        )
        blocks = cut.materialize().to_arrow_refs()
    pairs = zip(blocks, ray.get(blocks), strict=True)
    tables = [(ref, table) for ref, table in pairs if table.num_rows]
    if not tables:
        raise DataError(
            f"No question leaves room for context in windows of {spec.max_length} tokens.",
            "Raise --data.max-length.",
        )
    rows = np.concatenate([table["row"].to_numpy() for _, table in tables])
    sizes = [table.num_rows for _, table in tables]
    has_window = np.zeros(questions.num_rows, bool)
    has_window[rows] = True
    return WindowSet(
        blocks=[ref for ref, _ in tables],
        starts=np.cumsum([0, *sizes[:-1]]),
        lengths=np.concatenate([table["length"].to_numpy() for _, table in tables]),
        rows=rows,
        too_long=np.flatnonzero(~has_window).tolist(),
    )


def questions_per_block(num_questions: int) -> int:
    """Return the size of a block: many enough to share the work, few enough to fetch."""
    return max(_QUESTIONS_PER_BLOCK, -(-num_questions // _MAX_BLOCKS))


def owners(starts: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the block of each window, (windows,) int64, given the blocks' first windows."""
    return np.searchsorted(starts, indices, side="right") - 1


def take(
    blocks: Sequence[pa.Table] | Mapping[int, pa.Table], starts: np.ndarray, indices: np.ndarray
) -> pa.Table:
    """Gather windows from blocks by window index.

    Args:
        blocks: Arrow tables by number; of a mapping, only the owners of the windows are read.
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


@lru_cache(maxsize=2)
def _tokenizer(model_name: str) -> Any:
    from qa_lib.models import load_tokenizer

    return load_tokenizer(model_name)


def _blocks(questions: pa.Table, num_questions: int) -> list[pa.Table]:
    """Cut questions into blocks at changes of context, and number their rows."""
    table = questions.append_column("row", pa.array(np.arange(questions.num_rows, dtype=np.int32)))
    edges = context_edges(table["context"], num_questions)
    return [table.slice(a, b - a) for a, b in zip(edges, edges[1:], strict=False)]
