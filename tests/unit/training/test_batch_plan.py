"""The batch plan: every window once, the same batches for any number of workers."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lib.training import batch_plan
from qa_lib.training.batch_plan import BatchPlan


def plan_of(num_windows, global_batch=16, seed=3, **fields):
    lengths = np.random.default_rng(1).integers(20, 384, num_windows).astype(np.int32)
    return BatchPlan(lengths, global_batch, fields.pop("num_epochs", 2), seed, **fields)


@settings(max_examples=60, deadline=None)
@given(
    num_windows=st.integers(1, 700),
    world_size=st.sampled_from([1, 2, 3, 4, 5, 8]),
    micro_batch=st.sampled_from([1, 2]),
    bucket_batches=st.integers(1, 9),
    seed=st.integers(0, 5),
)
def test_every_window_is_trained_once_per_epoch_at_any_world_size(
    num_windows, world_size, micro_batch, bucket_batches, seed
):
    plan = plan_of(num_windows, 16, seed, bucket_batches=bucket_batches)
    for epoch in range(2):
        trained = []
        for step in range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch):
            step_windows = []
            for rank in range(world_size):
                indices, weights = plan.share(step, rank, world_size, micro_batch)
                assert len(indices) == -(-16 // (world_size * micro_batch)) * micro_batch
                step_windows += indices[weights == 1].tolist()
            assert sorted(step_windows) == sorted(plan.batch(step).tolist())
            trained += step_windows
        assert sorted(trained) == list(range(num_windows))


def test_ranks_hold_neighbours_in_length_at_the_same_moment():
    plan = plan_of(20_000, global_batch=64)
    gaps, random_gaps = [], []
    for step in range(0, plan.steps_per_epoch - 1, 7):
        longest = [
            plan.lengths[plan.share(step, rank, 4, 4)[0].reshape(-1, 4)].max(axis=1)
            for rank in range(4)
        ]
        gaps.append(np.ptp(np.stack(longest), axis=0).max())
        random_gaps.append(np.ptp(plan.lengths[plan.batch(step)]))
    assert np.mean(gaps) < 4
    assert np.mean(gaps) <= np.mean(random_gaps)


def test_bucketing_wastes_little_padding():
    plan = plan_of(20_000)
    batches = [plan.lengths[plan.batch(step)] for step in range(plan.steps_per_epoch)]
    padded = sum(batch.max() * len(batch) for batch in batches)
    assert padded / plan.lengths.sum() < 1.03
    unsorted = plan_of(20_000, bucket_batches=1)
    batches = [unsorted.lengths[unsorted.batch(step)] for step in range(unsorted.steps_per_epoch)]
    assert sum(batch.max() * len(batch) for batch in batches) / plan.lengths.sum() > 1.5


def test_a_bucket_of_any_size_is_at_most_the_epoch():
    largest, whole = plan_of(500, bucket_batches=10**22), plan_of(500, bucket_batches=32)
    for step in range(whole.num_steps):
        assert (largest.batch(step) == whole.batch(step)).all()


def test_order_depends_on_seed_and_epoch_and_nothing_else():
    first, again, other = plan_of(500), plan_of(500), plan_of(500, seed=4)
    for step in range(first.num_steps):
        assert (first.batch(step) == again.batch(step)).all()
    assert any((first.batch(s)[:4] != other.batch(s)[:4]).any() for s in range(5))
    epoch = first.steps_per_epoch
    assert any((first.batch(s)[:4] != first.batch(s + epoch)[:4]).any() for s in range(5))


def test_max_steps_ends_the_plan_early():
    assert plan_of(500, max_steps=7).num_steps == 7
    assert plan_of(500, max_steps=7_000).num_steps == plan_of(500).num_steps == 64


@pytest.mark.parametrize(
    "num_windows, global_batch, bucket_batches",
    [(1, 4, 3), (7, 4, 1), (799, 16, 50), (800, 16, 50), (2_501, 16, 50), (1_000, 64, 7)],
)
def test_the_order_is_the_one_that_recorded_runs_trained(num_windows, global_batch, bucket_batches):
    plan = plan_of(num_windows, global_batch, bucket_batches=bucket_batches)
    for epoch in range(2):
        # As first written: shuffle, sort each bucket by length, cut into batches, shuffle those.
        random = np.random.default_rng([plan.seed, epoch])
        order, batches = random.permutation(num_windows), []
        for start in range(0, num_windows, bucket_batches * global_batch):
            members = order[start : start + bucket_batches * global_batch]
            members = members[np.argsort(-plan.lengths[members], kind="stable")]
            batches += np.split(members, range(global_batch, len(members), global_batch))
        for position, number in enumerate(random.permutation(len(batches))):
            batch = plan.batch(epoch * plan.steps_per_epoch + position)
            np.testing.assert_array_equal(batch, batches[number], strict=True)


def test_copies_of_a_plan_in_one_process_compute_an_epoch_once():
    plan = plan_of(5_000, seed=11)
    copies = [pickle.loads(pickle.dumps(plan)) for _ in range(3)]
    misses = BatchPlan._pool.cache_info().misses
    assert len({copy.batch(5).tobytes() for copy in [plan, *copies]}) == 1
    assert BatchPlan._pool.cache_info().misses == misses + 1
    assert plan_of(5_000, seed=12) != plan == copies[0]


def test_a_large_set_is_trained_pool_by_pool_from_few_places(monkeypatch):
    monkeypatch.setattr(batch_plan, "_RUN_WINDOWS", 64)
    monkeypatch.setattr(batch_plan, "_POOL_RUNS", 4)
    plan = plan_of(10_007, bucket_batches=5)
    pooled, steps = 64 * 4 // 16, plan.steps_per_epoch
    epochs = [[plan.batch(epoch * steps + step) for step in range(steps)] for epoch in range(2)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(10_007))
        assert sorted(map(len, batches))[:2] == [10_007 % 16, 16]
        for first in range(0, steps, pooled):
            runs = {index // 64 for batch in batches[first : first + pooled] for index in batch}
            assert len(runs) <= 4 + 2  # the set's last run is short, and moves the others
    assert not np.array_equal(epochs[0][0], epochs[1][0])
    fresh = plan_of(10_007, bucket_batches=5)
    assert np.array_equal(fresh.batch(steps + 300), plan.batch(steps + 300))
