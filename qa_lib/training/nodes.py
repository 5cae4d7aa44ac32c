"""The nodes under a group of workers: which of them go, and whether more have come.

A group that forms anew takes some twenty seconds. It first writes a checkpoint, so that no step is
taken twice.
"""

from __future__ import annotations

import os
import time
from typing import Any

from qa_lib.machines.allocation import Allocation, num_placeable

_POLL_S = 2.0
_NOTICE_S = 30
_WORTH_S = 40.0  # of training that must be left for a larger group to pay
_SETTLED_S = 22.0  # Ray's coordinator, which sizes a group, looks at the nodes every 20 s


class NodeWatch:
    """Says when a group should form anew. This machine's own Ray has one node: it never does."""

    def __init__(self, allocation: Allocation, *, is_elastic: bool) -> None:
        """Watch the nodes of the connected cluster for a group of this allocation."""
        self._allocation, self._is_elastic = allocation, is_elastic
        self._is_cluster = bool(os.environ.get("RAY_ADDRESS"))
        self._polled_s = float("-inf")
        self._asked: set[tuple[str, ...]] = set()  # for what; nothing is asked for twice
        self._since: dict[str, float] = {}  # when each node was first seen

    def reason(self, group: list[str], seconds_left: float) -> str:
        """Return why a group should form anew, or "".

        Args:
            group: The node of each rank; empty until the group has formed.
            seconds_left: Of training, at the group's speed.
        """
        now = time.monotonic()
        if not (self._is_cluster and group) or now - self._polled_s < _POLL_S:
            return ""
        self._polled_s = now
        leaving = draining()
        going = sorted(set(group) & leaving.keys())
        if going:
            return self._once(f"node {going[0][:8]} is about to go", (*going, *group))
        sizes = _sizes()
        joined = now if self._since else float("-inf")  # the first are what the group began with
        self._since = {node: self._since.get(node, joined) for node in sizes}
        nodes = {
            node: size
            for node, size in sizes.items()
            if node not in leaving and now - self._since[node] >= _SETTLED_S
        }
        num_workers = num_placeable(self._allocation, list(nodes.values()))
        if self._is_elastic and seconds_left > _WORTH_S and num_workers > len(group):
            # Not again for the same nodes: another job may use what looks free.
            return self._once(f"there is room for {num_workers} workers", tuple(sorted(nodes)))
        return ""

    def _once(self, reason: str, key: tuple[str, ...]) -> str:
        is_new = key not in self._asked
        self._asked.add(key)
        return reason if is_new else ""


def draining() -> dict[str, int]:
    """Return the nodes that Ray is about to lose, with their deadlines in ms since 1970, or 0."""
    from ray._private import state

    nodes: dict[str, int] = state.state.get_draining_nodes()
    return nodes


def drain(node: str) -> None:
    """Tell Ray that a node is about to be taken away, so that nothing is placed there."""
    import ray
    from ray.core.generated import autoscaler_pb2

    raylet: Any = ray._raylet
    reasons: Any = autoscaler_pb2
    reason = reasons.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    deadline_ms = int((time.time() + _NOTICE_S) * 1000)
    client.drain_node(node, reason, "the machine is preempted", deadline_ms)


def _sizes() -> dict[str, tuple[float, float]]:
    """Return CPUs and GPUs of every node that is alive."""
    import ray

    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    return {
        node: (resources.get("CPU", 0.0), resources.get("GPU", 0.0))
        for node, resources in alive.items()
    }
