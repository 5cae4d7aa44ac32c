"""A pool of actors, each with the model: windows in, the best spans of every window out.

Windows are dealt longest first, in batches of similar length. Only spans come back: Arrow tables of
some hundred bytes per window.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib.config import EvaluateSettings, Settings
from qa_lib.errors import ResourceError, UserError
from qa_lib.evaluation import spans
from qa_lib.runs.progress import Progress

if TYPE_CHECKING:
    from ray import ObjectRef

    from qa_lib.models.inference import Forward
    from qa_lib.training.dataset import WindowSet

# A task of an actor: long enough to hide what a task costs, short enough to see progress.
_BATCHES_PER_TASK = {"cpu": 1, "cuda": 16}
_ERROR = "error"


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
        found = spans.decode(
            rows,
            start_logits,
            end_logits,
            n_best=settings.n_best,
            max_answer_length=settings.max_answer_length,
        )
        if "window_index" in rows.column_names:
            found = found.append_column("window_index", rows["window_index"])
        yield found


def read_all(
    settings: Settings, model_name: str, window_set: WindowSet
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the best spans of all windows, and facts for result.json."""
    import ray

    from qa_lib.machines.allocation import MODEL_ACTOR_CPUS

    device = device_of(settings)
    num_actors, num_threads = pool_size(settings, device)
    batch_size = settings.evaluate.batch_size
    options = {
        "model_name": model_name,
        "device": device,
        "precision": settings.train.precision,
        "batch_size": batch_size,
        "num_threads": num_threads,
        "seed": settings.seed,
        **settings.model.model_dump(include={"placement", "max_memory"}),
    }
    tasks = ray.data.from_arrow(_tasks(window_set, batch_size * _BATCHES_PER_TASK[device]))
    found = tasks.map_batches(
        _Reader,
        fn_constructor_args=[options, settings.evaluate, window_set.blocks, window_set.starts],
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=num_actors),
        num_cpus=MODEL_ACTOR_CPUS,
        num_gpus=num_gpus_of(settings, device),
    )
    candidates, seconds = _collect(found, window_set.num_windows)
    return candidates, {
        "num_windows": window_set.num_windows,
        "windows_per_s": round(window_set.num_windows / seconds, 2),
        "num_eval_actors": num_actors,
        "eval_device": device,
        "eval_precision": candidates["precision"][0].as_py(),
        "eval_peak_memory_bytes": int(candidates["peak_memory_bytes"].to_numpy().max()),
    }


def _collect(found: Any, num_windows: int) -> tuple[pa.Table, float]:
    """Return what the actors found, every window once, and the seconds since the first began."""
    parts: list[pa.Table] = []
    done, began_s = 0, np.inf
    with Progress(num_windows, "windows", "evaluating") as progress:
        part: pa.Table
        for part in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            if _ERROR in part.column_names:
                raise pickle.loads(part[_ERROR][0].as_py())
            parts.append(part)
            done += part.num_rows
            began_s = min(began_s, part["began_s"].to_numpy().min())
            progress.update(done, windows_per_s=done / (time.time() - began_s))
    seconds = time.time() - began_s
    candidates = pa.concat_tables(parts)
    index = np.sort(candidates["window_index"].to_numpy())
    assert np.array_equal(index, np.arange(num_windows)), "windows missed or repeated"
    return candidates, seconds


def device_of(settings: Settings) -> str:
    """Return cpu or cuda, judged by this machine before Ray starts and by the cluster after it."""
    from qa_lib.machines.allocation import allocate, growth

    # The training group's size does not matter here.
    alone = settings.train.model_copy(update={"num_workers": 1, "cpus_per_worker": None})
    return allocate(alone, growth(settings)).device


def num_gpus_of(settings: Settings, device: str) -> int:
    """Return the GPUs of one actor: placement auto spreads a model over all that a node has."""
    import ray

    if device == "cpu":
        return 0
    if settings.model.placement != "auto":
        return 1
    return max(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])


def pool_size(settings: Settings, device: str) -> tuple[int, int]:
    """Return how many actors hold the model, and the CPU threads of each.

    Raises:
        ResourceError: More are asked for than there is room for: Ray would wait for ever.
    """
    from qa_lib.machines.allocation import MODEL_ACTOR_CPUS, capacity, growth, num_model_actors

    cluster = growth(settings)
    num_cpus, num_gpus = capacity(cluster)
    room = num_gpus if device == "cuda" else num_cpus / MODEL_ACTOR_CPUS
    if settings.model.placement == "auto":  # one model has a machine to itself
        room = 1
    derived = min(room, num_model_actors(device, cluster))
    num_actors = settings.evaluate.num_actors or max(1, int(derived))
    if num_actors > room:
        raise ResourceError(
            f"--evaluate.num-actors {num_actors} is too many: there is room for {int(room)} "
            f"({device}).",
            f"Use --evaluate.num-actors {int(room)} or fewer, or leave it out.",
        )
    return num_actors, max(1, int(num_cpus / num_actors))


class _Reader:
    """An actor of Ray Data: window indices in, the best spans of those windows out.

    Ray Data forgets the class of what an actor raises, and starts one that could not load its model
    again and again. So what the user can mend goes to the driver as a row.
    """

    def __init__(
        self,
        options: dict[str, Any],
        settings: EvaluateSettings,
        blocks: list[ObjectRef],
        starts: np.ndarray,
    ) -> None:
        import ray

        from qa_lib.machines import devices
        from qa_lib.models.inference import Forward

        self._settings = settings
        self._blocks = ray.get(blocks)
        self._starts = starts
        num_threads = min(options["num_threads"], devices.num_local_cpus())
        try:
            self._forward = Forward(**options | {"num_threads": num_threads})
            self._error = None
        except UserError as error:
            self._error = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            if self._error is not None:
                raise self._error
            return self._read(batch["window_index"])
        except UserError as error:
            return pa.table({_ERROR: [pickle.dumps(error)]})

    def _read(self, window_index: pa.ChunkedArray) -> pa.Table:
        from qa_lib.machines import devices
        from qa_lib.training import dataset

        began_s = time.time()
        table = dataset.take(self._blocks, self._starts, window_index.to_numpy())
        table = table.append_column("window_index", window_index)
        found = pa.concat_tables(find_spans(self._forward, table, self._settings))
        # What the driver wants to know of the actors travels with their rows.
        facts = {
            "began_s": began_s,
            "precision": self._forward.precision,
            "peak_memory_bytes": devices.peak_memory_bytes(str(self._forward.device)),
        }
        for name, value in facts.items():
            found = found.append_column(name, pa.repeat(value, found.num_rows))
        return found


def _tasks(window_set: WindowSet, num_windows: int) -> list[pa.Table]:
    """Deal the windows, longest first, into tasks of so many."""
    order = np.argsort(-window_set.lengths, kind="stable")
    return [
        pa.table({"window_index": order[first : first + num_windows]})
        for first in range(0, len(order), num_windows)
    ]
