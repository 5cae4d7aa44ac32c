"""Ray Data: windows reach the ranks in the order of the batch plan.

Datasets of each rank, made in the rank, map stretches of the plan to Arrow batches of the windows
that the plan deals to that rank. The plan decides which rank trains what; Ray Data computes,
buffers and moves it. Datasets of Ray Train's trainer would be dealt out by one more process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib.machines.ray_session import quiet_ray_data
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.dataset import TASK_CPUS, WindowSet, fetch, owners, take

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.data import Dataset

# Per task: seconds of training, some 20 milliseconds of gathering. Sets of millions of windows have
# longer tasks, because Ray Data keeps a record of each; none holds more than some 20 MB.
_WINDOWS_PER_TASK = 512
_MAX_WINDOWS_PER_TASK = 2**15
_MAX_TASKS_PER_EPOCH = 512

# Of one dataset, some 45 MB: nothing else bounds how far ahead of a rank Ray Data gathers. At least
# so many tasks, that the next dataset has begun to come in before it is wanted.
_WINDOWS_PER_DATASET = 2**16
_MIN_TASKS_PER_DATASET = 4

# Of a dataset's tasks at a time. Each has a process, which takes seconds of a core to start;
# without a bound, Ray starts one for every quarter of a CPU that is free in the cluster.
_TASKS_AT_ONCE = 2


@dataclass(frozen=True)
class PlannedData:
    """The windows of a training and the plan that deals them, as the driver gives them to ranks.

    Attributes:
        window_set: Where the windows are.
        plan: Reference to the BatchPlan, which the tasks share.
    """

    window_set: WindowSet
    plan: ObjectRef

    @classmethod
    def of(cls, window_set: WindowSet, plan: BatchPlan) -> PlannedData:
        """Put the plan where all tasks find it."""
        import ray

        plan.fingerprint  # noqa: B018 - computed here for all tasks
        return cls(window_set, ray.put(plan))

    def of_rank(
        self, plan: BatchPlan, first_step: int, rank: int, world_size: int, micro_batch: int
    ) -> Iterator[pa.Table]:
        """Return the windows that the plan deals to a rank, from a step to the end of the plan.

        They are gathered from now on, while this process does other things, up to two datasets
        ahead: the one that windows are taken from, and the next.

        Args:
            plan: What `plan` refers to.
            first_step: Steps before it are not wanted.
            rank: Of this process.
            world_size: Ranks of the group.
            micro_batch: Windows per rank and micro-step, and of each table.
        """
        quiet_ray_data()  # in this process
        steps = range(first_step, plan.num_steps)
        num_steps = steps_per_dataset(plan, world_size)
        parts = [steps[start : start + num_steps] for start in range(0, len(steps), num_steps)]
        share = (rank, world_size, micro_batch)

        def begin(part: range) -> Iterator[pa.Table]:
            batches = self._dataset(part, share, steps_per_task(plan, world_size)).iter_batches(
                batch_size=micro_batch, batch_format="pyarrow", prefetch_batches=4
            )
            return _begun(iter(batches))

        first = begin(parts[0]) if parts else iter(())

        def batches() -> Iterator[pa.Table]:
            current = first
            for part in parts[1:]:
                following = begin(part)
                yield from current
                current = following
            yield from current

        return batches()

    def _dataset(self, steps: range, share: tuple[int, int, int], steps_per_task: int) -> Dataset:
        """Return the windows that some steps deal to a rank; tasks gather them in parallel."""
        import ray
        from ray.data._internal.execution.backpressure_policy import (
            ConcurrencyCapBackpressurePolicy,
        )

        num_stretches = -(-len(steps) // steps_per_task)
        # A block each, in memory. `range` reads, and `from_arrow` looks at every block, in tasks of
        # a whole CPU: the nodes of a group may not have it left, and the ranks would wait for ever.
        dataset = ray.data.from_blocks(
            [pa.table({"id": [number]}) for number in range(num_stretches)]
        )
        dataset.context.execution_options.preserve_order = True
        # Under output backpressure Ray 2.60's executor polls without a pause and takes half a core
        # from the training thread of the same process [measured]. Datasets are small instead, and
        # the object store can spill. The policy left heeds `concurrency`.
        policies = [ConcurrencyCapBackpressurePolicy]
        dataset.context.set_config("backpressure_policies.enabled", policies)
        # So many waiting tasks would be a reason for Ray Data to ask for more machines, which none
        # of them is worth. It does not ask where it has no share of the CPUs.
        limits = ray.data.ExecutionResources.for_limits(cpu=0)
        dataset.context.execution_options.resource_limits = limits
        return dataset.map_batches(
            gather_stretch,
            fn_kwargs={
                "plan": self.plan,
                "share": share,
                "blocks": self.window_set.blocks,
                "starts": self.window_set.starts,
                "steps": steps,
                "steps_per_task": steps_per_task,
            },
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=TASK_CPUS,
            concurrency=min(_TASKS_AT_ONCE, num_stretches),  # Ray warns of more
        )


def _begun(batches: Iterator[Any]) -> Iterator[Any]:
    """Fetch the first of some batches in a thread, now, which starts Ray Data."""
    thread = ThreadPoolExecutor(1)
    first = thread.submit(list, islice(batches, 1))
    thread.shutdown(wait=False)

    def fetched() -> Iterator[Any]:
        yield from first.result()
        yield from batches

    return fetched()


def steps_per_dataset(plan: BatchPlan, world_size: int) -> int:
    """Return the optimizer steps whose windows are gathered by one dataset for a rank."""
    num_steps = steps_per_task(plan, world_size)
    num_windows = num_steps * plan.global_batch // world_size
    return num_steps * max(_MIN_TASKS_PER_DATASET, _WINDOWS_PER_DATASET // num_windows)


def steps_per_task(plan: BatchPlan, world_size: int) -> int:
    """Return the optimizer steps whose windows one task gathers for a rank."""
    windows_per_rank = plan.num_windows // world_size
    num_windows = max(_WINDOWS_PER_TASK, windows_per_rank // _MAX_TASKS_PER_EPOCH)
    num_windows = min(num_windows, _MAX_WINDOWS_PER_TASK)
    return max(1, num_windows * world_size // plan.global_batch)


def gather_stretch(
    batch: pa.Table,
    *,
    plan: Any,
    share: tuple[int, int, int],
    blocks: Sequence[Any],
    starts: np.ndarray,
    steps: range,
    steps_per_task: int,
) -> pa.Table:
    """Turn stretches of the plan into a rank's windows with `step`, `window_index`, `weight`."""
    import ray

    plan = ray.get(plan)
    firsts = [number * steps_per_task for number in batch["id"].to_pylist()]
    stretch = [step for first in firsts for step in steps[first : first + steps_per_task]]
    parts = [plan.share(step, *share) for step in stretch]
    indices, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    needed = np.unique(owners(starts, indices)).tolist()
    table = take(fetch(blocks, needed), starts, indices)
    of_step = np.repeat(np.array(stretch, np.int32), len(indices) // len(stretch))
    return (
        table.append_column("step", pa.array(of_step))
        .append_column("window_index", pa.array(indices))
        .append_column("weight", pa.array(weights))
    )
