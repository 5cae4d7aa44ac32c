"""The windows reach the ranks through Ray Data, also where the ranks leave little room for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from qa_lib.training.batch_plan import BatchPlan

NUM_WINDOWS = 48


@pytest.fixture
def half_a_cpu(ray_session: None) -> Iterator[None]:
    """Leave half a CPU of all that Ray has, as the ranks of an elastic group may."""
    import ray
    from ray.util import placement_group, remove_placement_group

    held = placement_group([{"CPU": ray.cluster_resources()["CPU"] - 0.5}])
    assert held.wait(30)
    yield
    remove_placement_group(held)


def gathered(epochs: int = 1, world_size: int = 2) -> tuple[BatchPlan, list[Iterator[pa.Table]]]:
    """Return a plan, and what Ray Data gathers by it for each rank."""
    import ray

    from qa_lib.training.dataset import WindowSet
    from qa_lib.training.planned_data import PlannedData

    lengths = np.arange(NUM_WINDOWS, dtype=np.int32)
    plan = BatchPlan(lengths, global_batch=8, num_epochs=epochs, seed=0)
    window_set = WindowSet([ray.put(pa.table({"length": lengths}))], np.array([0]), lengths, [])
    data = PlannedData.of(window_set, plan)
    return plan, [
        data.of_rank(plan, 0, rank, world_size, micro_batch=4) for rank in range(world_size)
    ]


@pytest.mark.timeout(90)
def test_every_window_comes_where_half_a_cpu_is_left(half_a_cpu):
    _, ranks = gathered()
    taken = [[table["window_index"].to_pylist() for table in rank] for rank in ranks]
    assert sorted(index for rank in taken for part in rank for index in part) == list(
        range(NUM_WINDOWS)
    )


def test_no_more_than_two_datasets_are_gathered_ahead(ray_session, monkeypatch):
    from qa_lib.training import planned_data

    monkeypatch.setattr(planned_data, "_WINDOWS_PER_TASK", 8)  # a step
    monkeypatch.setattr(planned_data, "_WINDOWS_PER_DATASET", 8)
    monkeypatch.setattr(planned_data, "_MIN_TASKS_PER_DATASET", 2)
    begun = []
    dataset = planned_data.PlannedData._dataset

    def noted(self: planned_data.PlannedData, steps: range, *others: Any) -> Any:
        begun.append(steps)
        return dataset(self, steps, *others)

    monkeypatch.setattr(planned_data.PlannedData, "_dataset", noted)
    plan, (batches,) = gathered(epochs=2, world_size=1)
    assert begun == [range(2)]  # while the rank loads its model
    of_step: dict[int, list[int]] = {}
    for table in batches:
        assert len(table) == 4 and len(set(table["step"].to_pylist())) == 1
        step = table["step"][0].as_py()
        of_step.setdefault(step, []).extend(table["window_index"].to_pylist())
        assert begun[-1].stop <= step - step % 2 + 4  # this dataset and the next
    assert of_step == {
        step: plan.share(step, 0, 1, 4)[0].tolist() for step in range(plan.num_steps)
    }


def test_nothing_comes_where_no_step_is_left(ray_session):
    from qa_lib.training.planned_data import PlannedData

    plan = BatchPlan(np.arange(8), global_batch=8, num_epochs=1, seed=0)
    assert list(PlannedData(None, None).of_rank(plan, plan.num_steps, 0, 1, 4)) == []
