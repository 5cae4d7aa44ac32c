"""What a replica takes: as many as there can be have a place, or the refusal names why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib.errors import ResourceError
from qa_lib.serving.service.placing import shares

NODES = st.lists(
    st.tuples(st.sampled_from([1.0, 2.0, 3.0, 8.0, 16.0, 96.0]), st.sampled_from([0.0, 1.0, 4.0])),
    min_size=1,
    max_size=4,
)


def num_placed(nodes: list[tuple[float, float]], cpus: float, gpus: float) -> int:
    """Place replicas as Ray does: each on one node, and on one of its GPUs."""
    placed = 0
    for free, num_gpus in nodes:
        left = [1.0] * int(num_gpus)
        while free >= cpus - 1e-9 and (not gpus or max(left, default=0.0) >= gpus):
            free -= cpus
            placed += 1
            if gpus:
                left[left.index(max(left))] -= gpus
    return placed


@given(NODES, st.integers(1, 40), st.booleans())
def test_all_replicas_have_a_place(nodes, most, on_gpu):
    if on_gpu and not any(gpus for _, gpus in nodes):
        nodes = [*nodes, (8.0, 1.0)]
    cpus, gpus = shares(nodes, most, None, on_gpu=on_gpu)
    assert num_placed(nodes, cpus, gpus) >= most
    assert (gpus > 0) == on_gpu


@pytest.mark.parametrize(
    ("nodes", "most", "on_gpu", "share"),
    [
        ([(16.0, 0.0)], 3, False, (5.0, 0.0)),
        ([(2.0, 0.0)], 3, False, (0.6666, 0.0)),
        ([(8.0, 0.0), (2.0, 0.0)], 2, False, (4.0, 0.0)),  # half of ten CPUs fits one node only
        ([(16.0, 2.0)], 3, True, (5.0, 0.5)),  # two thirds of a GPU leave no room for a third
        ([(16.0, 0.0), (8.0, 1.0)], 1, True, (8.0, 1.0)),  # the head has no GPU
    ],
)
def test_a_share_is_the_largest_that_fits_nodes_and_gpus(nodes, most, on_gpu, share):
    assert shares(nodes, most, None, on_gpu=on_gpu) == share


@pytest.mark.parametrize(
    ("nodes", "most", "wanted", "on_gpu"),
    [
        ([(8.0, 0.0), (8.0, 0.0)], 3, 5.0, False),  # fifteen of sixteen CPUs, but on two nodes
        ([(16.0, 0.0), (4.0, 1.0)], 1, 8.0, True),  # where the GPU is, there are four CPUs
    ],
)
def test_replicas_that_ray_could_never_place_are_refused(nodes, most, wanted, on_gpu):
    with pytest.raises(ResourceError, match="each on one node, do not fit") as caught:
        shares(nodes, most, wanted, on_gpu=on_gpu)
    assert "--serve.cpus-per-replica" in caught.value.remedy
