"""Windows to spans: one model over a table, or a pool of actors over all windows of a split.

Windows are dealt longest first, in batches of similar length. Only spans come back: Arrow tables of
some hundred bytes per window.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib.config import EvaluateSettings, Settings
from qa_lib.evaluation import spans
from qa_lib.machines import devices
from qa_lib.machines.actors import ActorPool
from qa_lib.models.inference import Forward
from qa_lib.training import dataset

if TYPE_CHECKING:
    from ray import ObjectRef

    from qa_lib.training.dataset import WindowSet

# A task of an actor: long enough to hide what a task costs, short enough to see progress.
_BATCHES_PER_TASK = {"cpu": 1, "cuda": 16}


def find_spans(forward: Forward, table: pa.Table, settings: EvaluateSettings) -> Iterator[pa.Table]:
    """Run a model over windows and find the best spans of each, batch by batch.

    Args:
        forward: The model.
        table: Windows with character offsets.
        settings: How many spans, and how long.

    Yields:
        What `spans.decode` returns, in the order in which `forward` takes the windows, and
        `window_index` where the table has that column.

    Raises:
        ModelError: A logit is not finite.
    """
    for rows, start_logits, end_logits in forward(table):
        candidates = spans.decode(
            rows,
            start_logits,
            end_logits,
            n_best=settings.n_best,
            max_answer_length=settings.max_answer_length,
        )
        if "window_index" in rows.column_names:
            candidates = candidates.append_column("window_index", rows["window_index"])
        yield candidates


def find_all_spans(
    settings: Settings, model_name: str, window_set: WindowSet
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the best spans of every window, found by a pool of actors, and facts for result.json.

    Raises:
        ResourceError: More actors are asked for than fit.
        ModelError: The model cannot be loaded, or its logits are not finite.
    """
    pool = ActorPool.of(settings)
    load = partial(
        _load_reader,
        settings,
        model_name,
        pool.device,
        window_set.blocks,
        window_set.starts,
        int(window_set.lengths.mean()),
    )
    order = np.argsort(-window_set.lengths, kind="stable")
    size = settings.evaluate.batch_size * _BATCHES_PER_TASK[pool.device]
    tasks = [
        pa.table({"window_index": order[first : first + size]})
        for first in range(0, len(order), size)
    ]
    candidates = pa.concat_tables(pool.run(load, tasks, title="evaluating", unit="windows"))
    kernels = candidates["kernels"][0].as_py()
    seconds = time.time() - float(candidates["began_s"].to_numpy().min())
    index = np.sort(candidates["window_index"].to_numpy())
    assert np.array_equal(index, np.arange(window_set.num_windows)), "windows missed or repeated"
    return candidates, {
        "num_windows": window_set.num_windows,
        "windows_per_s": round(window_set.num_windows / seconds, 2),
        "num_eval_actors": pool.num_actors,
        "eval_device": pool.device,
        **{f"eval_{name}": value for name, value in json.loads(kernels).items()},
        "eval_peak_memory_bytes": int(candidates["peak_memory_bytes"].to_numpy().max()),
    }


def _load_reader(
    settings: Settings,
    model_name: str,
    device: str,
    blocks: list[ObjectRef],
    starts: np.ndarray,
    num_tokens: int,
    num_threads: int,
) -> Callable[[pa.Table], pa.Table]:
    """Load the model in an actor; return what finds the spans of windows, given their indices."""
    import ray

    forward = Forward(
        model_name,
        device=device,
        precision=settings.train.precision,
        batch_size=settings.evaluate.batch_size,
        num_threads=num_threads,
        seed=settings.seed,
        placement=settings.model.placement,
        max_memory=settings.model.max_memory,
        attention=settings.train.attention,
        num_tokens=num_tokens,
        casts=True,
    )
    tables = ray.get(blocks)

    def read(task: pa.Table) -> pa.Table:
        began_s = time.time()
        table = dataset.take(tables, starts, task["window_index"].to_numpy())
        table = table.append_column("window_index", task["window_index"])
        candidates = pa.concat_tables(find_spans(forward, table, settings.evaluate))
        facts = {  # about this actor; they travel with its rows
            "began_s": began_s,
            "peak_memory_bytes": devices.peak_memory_bytes(str(forward.device)),
        }
        for name, value in facts.items():
            candidates = candidates.append_column(name, pa.repeat(value, candidates.num_rows))
        kernels = pa.repeat(json.dumps(forward.kernels.facts()), candidates.num_rows)
        return candidates.append_column("kernels", kernels.dictionary_encode())

    return read
