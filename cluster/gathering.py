"""Wait until a cluster has as many nodes as a job counts on; `cluster/symmetric.sh` runs it.

RAY_ADDRESS=10.0.0.1:6379 python -m cluster.gathering NUM_NODES SECONDS
"""

from __future__ import annotations

import os
import sys
import time

from jobs import _runner
from qa_lib.errors import ResourceError

_POLL_S = 0.5


def wait_for_nodes(num_nodes: int, within_s: float) -> None:
    """Return once the cluster at RAY_ADDRESS has `num_nodes` nodes.

    Raises:
        ResourceError: It has fewer after `within_s` seconds, or does not answer.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined] # of compiled code

    address, found = os.environ["RAY_ADDRESS"], 0
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            nodes = GcsClient(address=address).get_all_node_info(timeout=5)
        except Exception:  # RpcError, or RuntimeError while the head is starting
            nodes = {}
        found = sum(node.state == 0 for node in nodes.values())  # GcsNodeInfo.ALIVE
        if found >= num_nodes:
            return
        time.sleep(_POLL_S)
    raise ResourceError(
        f"{found} of {num_nodes} nodes have joined {address} in {within_s:g} seconds.",
        "See what the others print: they need the same token, and a way to the head's ports.",
    )


def main() -> None:
    """Wait as the command line says; exit with 2 in vain."""
    num_nodes, within_s = int(sys.argv[1]), float(sys.argv[2])

    def wait() -> int:
        wait_for_nodes(num_nodes, within_s)
        return 0

    sys.exit(_runner.exit_code(wait))


if __name__ == "__main__":
    main()
