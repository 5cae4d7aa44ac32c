"""The windows reach the ranks through Ray Data, also where the ranks leave little room for it."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.mark.timeout(90)
def test_every_window_comes_where_half_a_cpu_is_left(half_a_cpu):
    import ray

    from qa_lib.training.dataset import WindowSet
    from qa_lib.training.planned_data import PlannedData

    lengths = np.arange(NUM_WINDOWS, dtype=np.int32)
    plan = BatchPlan(lengths, global_batch=8, num_epochs=1, seed=0)
    window_set = WindowSet([ray.put(pa.table({"length": lengths}))], np.array([0]), lengths, [])
    data = PlannedData.of(window_set, plan)
    ranks = [data.of_rank(plan, 0, rank, world_size=2, micro_batch=4) for rank in range(2)]
    taken = [
        [batch["window_index"].to_pylist() for batch in rank.iter_batches(batch_format="pyarrow")]
        for rank in ranks
    ]
    assert sorted(index for rank in taken for part in rank for index in part) == list(
        range(NUM_WINDOWS)
    )
