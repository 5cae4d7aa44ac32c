"""Ray Data: windows reach the ranks in the order of the batch plan.

A dataset per rank, made in the rank, maps stretches of the plan to Arrow batches of the windows
that the plan deals to that rank. The plan decides which rank trains what; Ray Data computes,
buffers and moves it. Datasets of Ray Train's trainer would be dealt out by one more process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib.machines.ray_session import quiet_ray_data
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.dataset import TASK_CPUS, WindowSet, fetch, owners, take

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.data import DataIterator

# Per task: seconds of training, some 20 milliseconds of gathering. Sets of millions of windows have
# longer tasks, because Ray Data keeps a record of each; none holds more than some 20 MB.
_WINDOWS_PER_TASK = 512
_MAX_WINDOWS_PER_TASK = 2**15
_MAX_TASKS_PER_EPOCH = 512

# Of a rank's tasks at a time. Each has a process, which takes seconds of a core to start; without a
# bound, Ray starts one for every quarter of a CPU that is free in the cluster.
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
    ) -> DataIterator:
        """Return the windows that the plan deals to a rank, from a step to the end of the plan.

        Args:
            plan: What `plan` refers to.
            first_step: Steps before it are not wanted.
            rank: Of this process.
            world_size: Ranks of the group.
            micro_batch: Windows per rank and micro-step.
        """
        import ray
        from ray.data._internal.execution.backpressure_policy import (
            ConcurrencyCapBackpressurePolicy,
        )

        quiet_ray_data()  # in this process
        steps = range(first_step, plan.num_steps)
        num_steps = steps_per_task(plan, world_size)
        num_stretches = max(1, -(-len(steps) // num_steps))
        # A block each, in memory. `range` reads, and `from_arrow` looks at every block, in tasks of
        # a whole CPU: the nodes of a group may not have it left, and the ranks would wait for ever.
        dataset = ray.data.from_blocks(
            [pa.table({"id": [number]}) for number in range(num_stretches)]
        )
        dataset.context.execution_options.preserve_order = True
        # Under output backpressure Ray 2.60's executor polls without a pause and takes half a core
        # from the training thread of the same process [measured]. Without it little runs ahead: 60
        # MB for an epoch of SQuAD, and the object store can spill. The policy left heeds
        # `concurrency`.
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
                "share": (rank, world_size, micro_batch),
                "blocks": self.window_set.blocks,
                "starts": self.window_set.starts,
                "steps": steps,
                "steps_per_task": num_steps,
            },
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=TASK_CPUS,
            concurrency=min(_TASKS_AT_ONCE, num_stretches),  # Ray warns of more
        ).iterator()


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
    if not stretch:  # nothing is left to train, but Ray Data needs a block
        return fetch(blocks, [0])[0].take(pa.array([], pa.int64()))
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
