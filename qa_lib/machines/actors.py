"""A pool of actors that each hold a model: Arrow tables of work in, a result for each out.

    load = partial(load_reader, settings, ...)   # runs in each actor, returns a function of a table
    results = ActorPool.of(settings).run(load, tasks, title="evaluating", unit="windows")

These are actors of Ray's core. Ray Data's pool passes arguments through the object store, which Ray
warns of on every run, loses the class of an exception, and restarts an actor that cannot load its
model again and again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from qa_lib.runs.storage import first_line

Work = Callable[[pa.Table], pa.Table]
"""What a loaded model does with a task: as many rows out as in."""

_TASKS_PER_ACTOR = 2  # one runs, and the next is there when it ends
_MOST_RETRIES = 3  # of a task, or of loading, whose actor or machine is lost


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

        A lost actor is replaced, and its tasks are repeated by whichever actor is there first; if
        its machine is gone too, there may be no room for another.

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
            ResourceError: A task, or the loading, has cost too many actors.
        """
        with self.hold(load) as crew:
            yield from crew.run(tasks, title=title, unit=unit)

    @contextmanager
    def hold(self, load: Callable[[int], Work]) -> Iterator[Crew]:
        """Start the actors, for several runs of tasks that depend on each other's results.

        Arguments and errors as of `run`.
        """
        import ray

        # Ray would spend its own retries within milliseconds of a machine's loss, on that machine.
        actor_class: Any = ray.remote(_Actor).options(
            num_cpus=MODEL_ACTOR_CPUS,
            num_gpus=self.num_gpus,
            scheduling_strategy="SPREAD",  # by default, inside a trial, the trial's own bundle
        )
        actors: list[Any] = []

        def start() -> Any:
            actors.append(actor_class.remote(self.num_threads))
            return actors[-1]

        try:
            yield Crew(start, self.num_actors, ray.put(load))
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


class Crew:
    """Actors at work: tasks go to those with a loaded model; others may still wait for room."""

    def __init__(self, start: Callable[[], Any], num_actors: int, load: Any) -> None:
        """Start the actors, and let each load its model."""
        self._start, self._load = start, load
        self._tasks: Sequence[pa.Table] = ()
        self._waiting: deque[int] = deque()
        self._running: dict[Any, tuple[int | None, Any]] = {}
        self._losses: Counter[int | None] = Counter()
        self._loaded: list[Any] = []
        self._lost: list[Any] = []
        for _ in range(num_actors):
            self._call(start(), None)

    def run(self, tasks: Sequence[pa.Table], *, title: str, unit: str) -> Iterator[pa.Table]:
        """Work through tasks, as `ActorPool.run`; to its end before the next."""
        self._tasks, self._waiting = tasks, deque(range(len(tasks)))
        self._losses.clear()
        self._hand_out()
        with Progress(sum(task.num_rows for task in tasks), unit, title) as progress:
            yield from _in_order(self, tasks, progress, f"{unit}_per_s")

    @property
    def is_loaded(self) -> bool:
        """Whether an actor has its model, so that tasks run from now on."""
        return bool(self._loaded)

    def next_result(self) -> tuple[int, pa.Table] | None:
        """Wait until a call ends; return the task's number and result, or None if it gave none."""
        import ray

        (ready,), _ = ray.wait(list(self._running))
        number, actor = self._running.pop(ready)
        result = None
        try:
            result = ray.get(ready)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            self._replace(number, actor, error)
        else:
            if number is None:
                self._loaded.append(actor)
        self._hand_out()
        return None if number is None or result is None else (number, result)

    def _hand_out(self) -> None:
        for each in self._loaded:
            num_running = sum(one is each for _, one in self._running.values())
            for _ in range(min(_TASKS_PER_ACTOR - num_running, len(self._waiting))):
                self._call(each, self._waiting.popleft())

    def _call(self, actor: Any, number: int | None) -> None:
        task = None if number is None else self._tasks[number]
        self._running[actor.call.remote(self._load, task)] = number, actor

    def _replace(self, number: int | None, actor: Any, error: Exception) -> None:
        """Give a lost actor's task back, and start another actor, once."""
        self._losses[number] += 1
        if self._losses[number] > _MOST_RETRIES:
            doing = "loading its model" if number is None else f"on task {number}"
            raise ResourceError(
                f"{self._losses[number]} actors were lost {doing}: {first_line(error)}",
                "Look for processes that were killed for memory (`dmesg`), and for lost nodes; "
                "take fewer --evaluate.num-actors.",
            ) from None
        if number is not None:
            self._waiting.appendleft(number)
        if not any(one is actor for one in self._lost):
            self._lost.append(actor)
            self._loaded = [one for one in self._loaded if one is not actor]
            self._call(self._start(), None)


def _in_order(
    crew: Crew, tasks: Sequence[pa.Table], progress: Progress, speed: str
) -> Iterator[pa.Table]:
    """Yield the results in the order of the tasks."""
    results: dict[int, pa.Table] = {}  # those that wait for an earlier one
    due, num_rows = 0, 0
    started = time.monotonic() if crew.is_loaded else None
    while due < len(tasks):
        done = crew.next_result()
        started = started or time.monotonic()  # when the first model was loaded
        if done is None:
            continue
        number, result = done
        assert result.num_rows == tasks[number].num_rows, f"task {number} lost or gained rows"
        num_rows += result.num_rows
        progress.update(num_rows, **{speed: num_rows / (time.monotonic() - started)})
        results[number] = result
        while due in results:
            yield results.pop(due)
            due += 1
