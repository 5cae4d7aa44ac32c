"""A pool of actors that each hold a model: Arrow tables of work in, a result for each out.

    load = partial(load_reader, settings, ...)   # runs in each actor, returns a function of a table
    results = ActorPool.of(settings).run(load, tasks, title="evaluating", unit="windows")

These are actors of Ray's core. Ray Data's pool passes arguments through the object store, which Ray
warns of on every run, loses the class of an exception, and restarts an actor that cannot load its
model again and again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from qa_lib.config import Settings
from qa_lib.errors import ResourceError, UserError
from qa_lib.machines.allocation import (
    MODEL_ACTOR_CPUS,
    allocate,
    capacity,
    growth,
    num_model_actors,
)
from qa_lib.machines.devices import num_local_cpus
from qa_lib.runs.progress import Progress

Work = Callable[[pa.Table], pa.Table]
"""What a loaded model does with a task: as many rows out as in."""

_TASKS_PER_ACTOR = 2  # one runs, and the next is there when it ends
_MOST_RETRIES = 3  # of a task whose actor or machine is lost


def device_of(settings: Settings) -> str:
    """Return cpu or cuda, judged by this machine before Ray starts and by the cluster after it.

    Raises:
        ResourceError, ConfigError: The device or its precision is not available.
    """
    # The size of a training group does not matter here.
    alone = settings.train.model_copy(update={"num_workers": 1, "cpus_per_worker": None})
    return allocate(alone, growth(settings)).device


@dataclass(frozen=True)
class ActorPool:
    """How many actors hold a model, and what each of them takes.

    Attributes:
        device: cpu or cuda.
        num_actors: Copies of the model.
        num_threads: CPU threads of each, where its machine has as many.
        num_gpus: GPUs of each.
    """

    device: str
    num_actors: int
    num_threads: int
    num_gpus: int

    @classmethod
    def of(cls, settings: Settings) -> ActorPool:
        """Size a pool for the connected cluster.

        Raises:
            ResourceError: `evaluate.num_actors` is more than fit: Ray would wait for ever.
        """
        import ray

        device, cluster = device_of(settings), growth(settings)
        num_cpus, num_gpus = capacity(cluster)
        room = num_gpus if device == "cuda" else num_cpus / MODEL_ACTOR_CPUS
        gpus_per_actor = 1 if device == "cuda" else 0
        if settings.model.placement == "auto":  # one model has a machine to itself
            room = 1
            nodes = (node["Resources"] for node in ray.nodes() if node["Alive"])
            gpus_per_actor *= max(int(node.get("GPU", 0)) for node in nodes)
        derived = min(room, num_model_actors(device, cluster))
        num_actors = settings.evaluate.num_actors or max(1, int(derived))
        if num_actors > room:
            raise ResourceError(
                f"--evaluate.num-actors {num_actors} is too many: there is room for {int(room)} "
                f"({device}).",
                f"Use --evaluate.num-actors {int(room)} or fewer, or leave it out.",
            )
        return cls(device, num_actors, max(1, int(num_cpus / num_actors)), gpus_per_actor)

    def run(
        self, load: Callable[[int], Work], tasks: Sequence[pa.Table], *, title: str, unit: str
    ) -> Iterator[pa.Table]:
        """Work through tasks, and show the progress.

        A lost actor is replaced, and its tasks are repeated.

        Args:
            load: Called once in each actor with its number of threads; loads the model. It must
                pickle, and may hold references to objects.
            tasks: Begun in this order.
            title: The work, for the progress.
            unit: What a row of a task is, in the plural.

        Yields:
            The result of each task, in their order.

        Raises:
            UserError: `load` or the work raised it; its class is kept.
        """
        import ray

        actor_class: Any = ray.remote(_Actor).options(
            num_cpus=MODEL_ACTOR_CPUS,
            num_gpus=self.num_gpus,
            max_restarts=-1,
            max_task_retries=_MOST_RETRIES,
            scheduling_strategy="SPREAD",  # by default, inside a trial, the trial's own bundle
        )
        actors = [actor_class.remote(self.num_threads) for _ in range(self.num_actors)]
        try:
            with Progress(sum(task.num_rows for task in tasks), unit, title) as progress:
                yield from _results(actors, ray.put(load), tasks, progress, f"{unit}_per_s")
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        finally:
            for actor in actors:
                ray.kill(actor)


class _Actor:
    """Loads its model at the first call: an error of the constructor would lose its class."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = min(num_threads, num_local_cpus())
        self._work: Work | None = None

    def call(self, load: Callable[[int], Work], task: pa.Table | None) -> pa.Table | None:
        """Do a task; without one, only load the model."""
        if self._work is None:
            self._work = load(self._num_threads)
        return None if task is None else self._work(task)


def _results(
    actors: Sequence[Any], load: Any, tasks: Sequence[pa.Table], progress: Progress, speed: str
) -> Iterator[pa.Table]:
    """Yield the results in the order of the tasks.

    Tasks go to actors whose model is loaded: a cluster may still be starting machines for others.
    """
    import ray

    waiting = deque(enumerate(tasks))
    running: dict[Any, tuple[int | None, Any]] = {
        actor.call.remote(load, None): (None, actor) for actor in actors
    }
    results: dict[int, pa.Table] = {}  # those that wait for an earlier one
    due, num_rows, started = 0, 0, None
    while due < len(tasks):
        (ready,), _ = ray.wait(list(running))
        number, actor = running.pop(ready)
        result = ray.get(ready)
        started = started or time.monotonic()
        for _ in range(_TASKS_PER_ACTOR if number is None else 1):
            if waiting:
                following, task = waiting.popleft()
                running[actor.call.remote(load, task)] = following, actor
        if number is None:
            continue
        assert result.num_rows == tasks[number].num_rows, f"task {number} lost or gained rows"
        num_rows += result.num_rows
        progress.update(num_rows, **{speed: num_rows / (time.monotonic() - started)})
        results[number] = result
        while due in results:
            yield results.pop(due)
            due += 1
