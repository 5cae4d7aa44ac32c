"""A pool of actors that each hold a model: Arrow tables of work in, a result for each out.

    pool = ActorPool.of(settings)
    load = partial(load_reader, settings, ...)   # runs in each actor, returns a function of a table
    results = pool.run(load, tasks, title="evaluating", unit="windows")

These are actors of Ray's core. Ray Data's pool hands its actors their arguments through the object
store, which Ray warns of on every run; it also replaces the class of an exception, and starts an
actor that could not load its model again and again.
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
from qa_lib.machines import resources
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
    return resources.allocate(alone, resources.growth(settings)).device


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
        device = device_of(settings)
        cluster = resources.growth(settings)
        num_cpus, num_gpus = resources.totals(cluster)
        room = num_gpus if device == "cuda" else num_cpus / resources.MODEL_ACTOR_CPUS
        if settings.model.placement == "auto":  # one model has a machine to itself
            room = 1
        derived = min(room, resources.num_model_actors(device, cluster))
        num_actors = settings.evaluate.num_actors or max(1, int(derived))
        if num_actors > room:
            raise ResourceError(
                f"--evaluate.num-actors {num_actors} is too many: there is room for {int(room)} "
                f"({device}).",
                f"Use --evaluate.num-actors {int(room)} or fewer, or leave it out.",
            )
        num_threads = max(1, int(num_cpus / num_actors))
        return cls(device, num_actors, num_threads, _gpus_per_actor(settings, device))

    def run(
        self,
        load: Callable[[int], Work],
        tasks: Sequence[pa.Table],
        *,
        title: str,
        unit: str,
        in_order: bool = False,
    ) -> Iterator[pa.Table]:
        """Work through tasks, and show how far they have come.

        An actor that is lost is started anew, and its tasks are repeated.

        Args:
            load: Called once in each actor with its number of threads; loads the model. It must
                pickle, and may hold references to objects.
            tasks: Begun in this order.
            title: What is done, for the progress.
            unit: What a row of a task is, in the plural.
            in_order: Whether results come in the order of the tasks, else as they are ready.

        Yields:
            The result of each task.

        Raises:
            UserError: What `load` or the work raised, of its own class.
        """
        import ray

        actor_class: Any = ray.remote(_Actor).options(
            num_cpus=resources.MODEL_ACTOR_CPUS,
            num_gpus=self.num_gpus,
            max_restarts=-1,
            max_task_retries=_MOST_RETRIES,
            scheduling_strategy="SPREAD",  # by default, inside a trial, the trial's own bundle
        )
        actors = [actor_class.remote(self.num_threads) for _ in range(self.num_actors)]
        try:
            with Progress(sum(task.num_rows for task in tasks), unit, title) as progress:
                results = _results(actors, ray.put(load), tasks, progress, f"{unit}_per_s")
                yield from _sorted(results) if in_order else (result for _, result in results)
        finally:
            for actor in actors:
                ray.kill(actor)


class _Actor:
    """Loads its model at the first call, so that what that raises keeps its class."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = min(num_threads, resources.num_local_cpus())
        self._work: Work | None = None

    def call(self, load: Callable[[int], Work], task: pa.Table | None) -> pa.Table | None:
        """Do a task; without one, only load the model."""
        if self._work is None:
            self._work = load(self._num_threads)
        return None if task is None else self._work(task)


def _results(
    actors: Sequence[Any], load: Any, tasks: Sequence[pa.Table], progress: Progress, speed: str
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number and the result of each task, as they are ready.

    Tasks go to actors whose model is loaded: a cluster may still be starting machines for others.
    """
    import ray

    waiting = deque(enumerate(tasks))
    running: dict[Any, tuple[int | None, Any]] = {
        actor.call.remote(load, None): (None, actor) for actor in actors
    }
    num_results, num_rows, started = 0, 0, None
    while num_results < len(tasks):
        (ready,), _ = ray.wait(list(running))
        number, actor = running.pop(ready)
        result = _get(ready)
        started = started or time.monotonic()
        for _ in range(_TASKS_PER_ACTOR if number is None else 1):
            if waiting:
                following, task = waiting.popleft()
                running[actor.call.remote(load, task)] = following, actor
        if number is not None:
            assert result.num_rows == tasks[number].num_rows, f"task {number} lost or gained rows"
            num_results += 1
            num_rows += result.num_rows
            progress.update(num_rows, **{speed: num_rows / (time.monotonic() - started)})
            yield number, result


def _get(ready: Any) -> Any:
    import ray

    try:
        return ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise


def _sorted(results: Iterator[tuple[int, pa.Table]]) -> Iterator[pa.Table]:
    """Yield results in the order of their numbers; early ones wait."""
    early: dict[int, pa.Table] = {}
    due = 0
    for number, result in results:
        early[number] = result
        while due in early:
            yield early.pop(due)
            due += 1


def _gpus_per_actor(settings: Settings, device: str) -> int:
    """Return the GPUs of one actor: placement auto spreads a model over all that a node has."""
    import ray

    if device == "cpu":
        return 0
    if settings.model.placement != "auto":
        return 1
    return max(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])
