"""Workers fit the machine or cluster, and a request that does not fit names one that does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib.config import ClusterSettings, Settings, TrainSettings
from qa_lib.errors import ConfigError, ResourceError
from qa_lib.machines import allocation

CORES = st.sampled_from([1, 2, 3, 4, 8, 16, 96])


def train_of(num_workers: int, **fields) -> TrainSettings:
    return TrainSettings(num_workers=num_workers, global_batch=num_workers, micro_batch=1, **fields)


def allocate(nodes, train, cluster=ClusterSettings()):  # noqa: B008 - frozen
    """Allocate on nodes of (CPUs, GPUs)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocation, "_present", lambda: [(float(c), float(g)) for c, g in nodes])
        return allocation.allocate(train, cluster)


@given(CORES, st.integers(1, 400))
def test_a_core_stays_free_and_an_error_names_how_many_workers_fit(num_cores, num_workers):
    nodes = [(num_cores, 0)]
    try:
        found = allocate(nodes, train_of(num_workers))
    except ResourceError as error:
        most = int(re.search(r"--train\.num-workers (\d+)", error.remedy)[1])
        assert most < num_workers
        assert allocate(nodes, train_of(most)).num_workers == most
        with pytest.raises(ResourceError):
            allocate(nodes, train_of(most + 1))
        return
    reserved = found.num_workers * found.cpus_per_worker
    assert reserved <= max(num_cores - 1, 0.5)
    assert 0.25 <= found.cpus_per_worker <= 1.0
    assert found.device == "cpu"


@pytest.mark.parametrize(("num_cores", "most"), [(1, 2), (2, 4), (4, 12)])
def test_small_machines_hold_a_few_workers(num_cores, most):
    assert allocate([(num_cores, 0)], train_of(most)).num_workers == most
    with pytest.raises(ResourceError, match=f"{most + 1} workers do not fit {num_cores} CPUs"):
        allocate([(num_cores, 0)], train_of(most + 1))


@pytest.mark.parametrize(
    ("nodes", "num_workers", "cpus", "remedies"),
    [
        ([(4, 0)], 2, 2.0, ["--train.num-workers 1 or fewer", "cpus-per-worker"]),
        ([(4, 0)], 1, 8.0, ["cpus-per-worker"]),
        ([(0, 0)], 1, None, ["Use a machine or cluster with CPUs"]),
        # Nine CPUs in all, but no worker is spread over two nodes.
        ([(3, 0), (3, 0), (3, 0)], 4, 2.0, ["--train.num-workers 3 or fewer", "cpus-per-worker"]),
        ([(3, 0), (3, 0), (3, 0)], 1, 4.0, ["cpus-per-worker"]),
    ],
)
def test_what_ray_could_never_place_is_refused(nodes, num_workers, cpus, remedies):
    with pytest.raises(ResourceError) as caught:
        allocate(nodes, train_of(num_workers, cpus_per_worker=cpus))
    assert all(remedy in caught.value.remedy for remedy in remedies)
    assert ("--train.num-workers" in caught.value.remedy) == (len(remedies) == 2)


def test_a_worker_gets_the_requested_cpus():
    assert allocate([(8, 0)], train_of(2, cpus_per_worker=3.5)).cpus_per_worker == 3.5


def test_gpus_are_taken_where_there_are_any():
    assert allocate([(8, 2)], train_of(2)).device == "cuda"
    assert allocate([(8, 2)], train_of(2, device="cpu")).device == "cpu"
    assert allocate([(8, 0)], train_of(2)).device == "cpu"


@pytest.mark.parametrize(("num_gpus", "remedy"), [(0, "--train.device cpu"), (1, "num-workers 1")])
def test_more_workers_than_gpus_are_refused(num_gpus, remedy):
    with pytest.raises(ResourceError, match=f"there are {num_gpus}") as caught:
        allocate([(8, num_gpus)], train_of(2, device="cuda"))
    assert remedy in caught.value.remedy


def test_fp16_is_refused_on_a_cpu():
    with pytest.raises(ConfigError, match="fp16"):
        allocate([(8, 0)], train_of(1, precision="fp16"))
    assert allocate([(8, 1)], train_of(1, precision="fp16")).device == "cuda"


def test_workers_that_an_autoscaler_can_start_have_room():
    grown = ClusterSettings(gpu="T4", num_nodes=3, gpus_per_node=2, cpus_per_node=8)
    train = train_of(6, device="cuda")
    with pytest.raises(ResourceError, match="there are 0"):
        allocate([(4, 0)], train)
    assert allocate([(4, 0)], train, grown).device == "cuda"
    assert allocate([(4, 0), (8, 2)], train, grown).num_workers == 6
    with pytest.raises(ResourceError, match="there are 6"):
        allocate([(4, 0), (8, 2)], train_of(7, device="cuda"), grown)


def test_only_a_dry_run_or_a_cluster_counts_on_nodes_to_be_added(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster = ClusterSettings(gpu="T4", num_nodes=4)
    settings = Settings(cluster=cluster)
    assert allocation.growth(settings) == ClusterSettings()
    assert allocation.growth(settings.model_copy(update={"dry_run": True})) == cluster
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert allocation.growth(settings) == cluster


def test_bf16_is_refused_on_a_gpu_without_it():
    train = train_of(1, device="cuda", precision="bf16")
    with pytest.raises(ConfigError, match="T4.*7.5"):
        allocate([(4, 0)], train, ClusterSettings(gpu="T4"))
    assert allocate([(4, 0)], train, ClusterSettings(gpu="L4")).device == "cuda"


@given(CORES, st.integers(1, 4), st.integers(1, 8), st.integers(2, 12))
def test_an_elastic_group_leaves_cpus_for_the_data_on_whatever_nodes_remain(
    cores, num_nodes, least, most
):
    nodes = [(cores, 0)] * num_nodes
    train = TrainSettings(num_workers=f"{least}:{least + most}", global_batch=least + most)
    try:
        found = allocate(nodes, train)
    except ResourceError as error:
        assert f"{least} workers do not fit" in error.problem
        return
    sizes = [(float(cpus), 0.0) for cpus, _ in nodes]
    assert found.num_workers == train.max_workers
    assert least <= allocation.num_placeable(found, sizes) <= train.max_workers
    for cpus, _ in sizes:
        num_workers = allocation.num_placeable(found, [(cpus, 0.0)])
        assert cpus - num_workers * found.cpus_per_worker >= 0.4  # a task or two of Ray Data


def test_elastic_workers_that_would_fill_a_node_are_refused():
    train = TrainSettings(num_workers="1:4", global_batch=4, cpus_per_worker=1.0)
    with pytest.raises(ResourceError, match="leave nothing for the data") as caught:
        allocate([(2, 0), (2, 0)], train)
    assert "0.75" in caught.value.remedy
    assert allocate([(2, 0), (8, 0)], train.model_copy(update={"cpus_per_worker": 0.75}))
