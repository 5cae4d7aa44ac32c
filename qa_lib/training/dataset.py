"""Ray Data: questions become windows on the cluster, and windows reach the ranks in plan order.

A first dataset maps blocks of questions to blocks of token windows, which stay in Ray's object
store as Arrow tables (60 MB for SQuAD). A second one per rank maps stretches of the batch plan to
Arrow batches of the windows that the plan deals to that rank. The plan decides which rank trains
what; Ray Data computes, buffers and moves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from ray.train import DataConfig

from qa_lib import windows
from qa_lib.data import context_edges
from qa_lib.errors import DataError
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.training.batch_plan import BatchPlan

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.data import DataIterator, Dataset

_QUESTIONS_PER_BLOCK = 2500
_MAX_QUESTIONS_HERE = 4000
# Per task: seconds of training, a millisecond of gathering.
_WINDOWS_PER_TASK = 512
_TASK_CPUS = 0.25


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
        dataset = ray.data.from_arrow(_blocks(questions, _QUESTIONS_PER_BLOCK))
        # Another order of blocks would change the window indices.
        dataset.context.execution_options.preserve_order = True
        cut = dataset.map_batches(
            _tokenize_block,  # type: ignore[arg-type]
            fn_kwargs=how,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=_TASK_CPUS * 2,
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


def take(blocks: list[pa.Table], starts: np.ndarray, indices: np.ndarray) -> pa.Table:
    """Gather windows from blocks by window index.

    Args:
        blocks: Arrow tables.
        starts: (blocks,) window index of each block's first row.
        indices: (windows,) int64, in any order, with repeats.

    Returns:
        The windows in the order of the indices.
    """
    owner = np.searchsorted(starts, indices, side="right") - 1
    order = np.argsort(owner, kind="stable")
    parts = []
    for block in np.unique(owner):
        members = indices[order][owner[order] == block]
        parts.append(blocks[block].take(pa.array(members - starts[block])))
    return pa.concat_tables(parts).combine_chunks().take(pa.array(np.argsort(order)))


@dataclass
class PlannedData(DataConfig):
    """Gives each rank of a Ray Train group the windows that the plan deals to it.

    Ray Train configures it at every start of the group, so after a failure the data continue at the
    newest good checkpoint.

    Attributes:
        plan: Which windows make up which step.
        window_set: Where the windows are.
        micro_batch: Windows per rank and micro-step.
        checkpoints: The run's checkpoint folder, path or URL.
    """

    plan: BatchPlan
    window_set: WindowSet
    micro_batch: int
    checkpoints: str

    def __post_init__(self) -> None:
        """Tell Ray to split nothing: each rank has a dataset of its own."""
        super().__init__(datasets_to_split=[])

    def configure(
        self, datasets: dict[str, Dataset], world_size: int, *_: Any, **__: Any
    ) -> list[dict[str, DataIterator]]:
        """Return an iterator per rank, from the resume cursor to the end of the plan."""
        found = CheckpointStore(self.checkpoints).newest_good(warn=lambda _: None)
        cursor = found.step if found else 0
        return [
            {name: self._rank_dataset(rank, world_size, cursor).iterator() for name in datasets}
            for rank in range(world_size)
        ]

    def _rank_dataset(self, rank: int, world_size: int, cursor: int) -> Dataset:
        import ray

        steps = range(cursor, self.plan.num_steps)
        steps_per_task = max(1, _WINDOWS_PER_TASK * world_size // self.plan.global_batch)
        num_stretches = max(1, -(-len(steps) // steps_per_task))
        dataset = ray.data.range(num_stretches, override_num_blocks=num_stretches)
        dataset.context.execution_options.preserve_order = True
        # Under output backpressure Ray 2.60's executor polls without a pause and takes half a core
        # from the training thread of the same process [measured]. Without it little runs ahead: 60
        # MB for an epoch of SQuAD, and the object store can spill.
        dataset.context.set_config("backpressure_policies.enabled", [])
        return dataset.map_batches(
            _gather_stretch,  # type: ignore[arg-type]
            fn_kwargs={
                "plan": ray.put(self.plan),
                "share": (rank, world_size, self.micro_batch),
                "blocks": self.window_set.blocks,
                "starts": self.window_set.starts,
                "steps": steps,
                "steps_per_task": steps_per_task,
            },
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=_TASK_CPUS,
        )


def _gather_stretch(
    batch: pa.Table,
    *,
    plan: Any,
    share: tuple[int, int, int],
    blocks: list[ObjectRef],
    starts: np.ndarray,
    steps: range,
    steps_per_task: int,
) -> pa.Table:
    """Turn stretches of the plan into a rank's windows with `step`, `window_index`, `weight`."""
    import ray

    plan = ray.get(plan)
    firsts = [number * steps_per_task for number in batch["id"].to_pylist()]
    stretch = [step for first in firsts for step in steps[first : first + steps_per_task]]
    if not stretch:  # nothing is left to train, but Ray Data needs a block
        return ray.get(blocks[0]).slice(0, 0)
    parts = [plan.share(step, *share) for step in stretch]
    indices, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    table = take(ray.get(blocks), starts, indices)
    of_step = np.repeat(np.array(stretch, np.int32), len(indices) // len(stretch))
    return (
        table.append_column("step", pa.array(of_step))
        .append_column("window_index", pa.array(indices))
        .append_column("weight", pa.array(weights))
    )


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
