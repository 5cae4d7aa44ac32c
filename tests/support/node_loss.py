"""What a driver does while a node of its cluster is killed.

tests/cluster/test_node_loss.py runs it:

    python -m tests.support.node_loss pool|monitor
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import pyarrow as pa
import ray

from qa_lib.machines.actors import ActorPool, Work
from qa_lib.machines.ray_session import start_ray
from qa_lib.training.monitor import start_monitor

NUM_TASKS = 100
ROW_BYTES = 2**20  # a result beyond 100 KiB stays on the node that made it


def here() -> str:
    """Return the id of this process's node."""
    return ray.get_runtime_context().get_node_id()


def load(num_threads: int) -> Work:
    """Return work that takes its time and makes a large result, which names its node."""

    def work(task: pa.Table) -> pa.Table:
        time.sleep(0.2)
        return task.append_column("node", [[here()]]).append_column("bulk", [[bytes(ROW_BYTES)]])

    return work


def pool() -> None:
    """Work through tasks on two nodes, one of which is killed once both have worked."""
    tasks = [pa.table({"n": [number]}) for number in range(NUM_TASKS)]
    results, is_told = [], False
    for result in ActorPool("cpu", 2, 1, 0).run(load, tasks, title="working", unit="rows"):
        results.append(result.select(["n", "node"]).to_pylist()[0])
        nodes = {row["node"] for row in results}
        if not is_told and len(nodes) == 2:
            is_told = True
            print("kill", flush=True)
            sys.stdin.readline()
    assert [row["n"] for row in results] == list(range(NUM_TASKS))


def monitor() -> None:
    """Start monitors, kill one's process, and have all answer after the other node is gone."""

    def where(_: Any) -> tuple[str, int]:
        return here(), os.getpid()

    monitors: list[Any] = [start_monitor() for _ in range(6)]
    places = ray.get([each.__ray_call__.remote(where) for each in monitors])
    assert {node for node, _ in places} == {here()}
    os.kill(places[0][1], signal.SIGKILL)
    print("kill", flush=True)
    sys.stdin.readline()
    assert ray.get([each.drain.remote() for each in monitors], timeout=60) == [[]] * 6


if __name__ == "__main__":
    start_ray()
    {"pool": pool, "monitor": monitor}[sys.argv[1]]()
    print("done")
