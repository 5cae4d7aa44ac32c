"""A real Ray cluster of several nodes on this machine, with token authentication.

    python -m cluster.loopback --num-nodes 3        # until Ctrl-C; prints what to export
    make loopback-cluster

Each node has its own raylet and resources, as a machine has. `make submit` sends jobs to it, as to
any cluster. Every process listens on 127.0.0.1 only, and all ports but those of metrics are behind
the token.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from cluster import tokens
from qa_lib.machines.ray_session import LOOPBACK_ONLY, keeping_workers

_ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
_PORTS = (21000, 32000)  # below those that Linux gives to connections
_READY_S = 60.0
_POLL_S = 0.25
_STOP_S = 5.0
_OBJECT_STORE_BYTES = 300 * 2**20


class _Node(NamedTuple):
    """A node's `ray start`, and the folder of its Ray."""

    process: subprocess.Popen[bytes]
    folder: Path


class LoopbackCluster:
    """A context manager whose nodes run inside the block.

    Attributes:
        dashboard: Address that jobs are submitted to: http://127.0.0.1:PORT.
        gcs: Address that a driver joins: 127.0.0.1:PORT.
        token_path: File with the token, readable by this user only.
    """

    def __init__(self, num_nodes: int = 3, cpus_per_node: float = 2) -> None:
        """Describe the cluster; entering the block starts it.

        Args:
            num_nodes: The head, which runs the jobs' drivers, and the workers.
            cpus_per_node: Logical CPUs of a node.
        """
        self.num_nodes, self.cpus_per_node = num_nodes, cpus_per_node
        ports = _free_ports(2)
        self.gcs, self.dashboard = f"{HOST}:{ports[0]}", f"http://{HOST}:{ports[1]}"
        self._nodes: list[_Node] = []
        self._num_started = 0
        self._stack = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a client of this cluster."""
        return {
            "RAY_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            LOOPBACK_ONLY: "0",
        }

    def __enter__(self) -> LoopbackCluster:
        """Start the head, then the workers, and wait until all have joined."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="qa-ray-")))
        self.folder = folder
        self.token_path = folder / "token"
        tokens.create(self.token_path)
        tokens.check(self.token_path)
        try:
            self._start_head()
            for _ in range(1, self.num_nodes):
                self._start_worker()
            self._wait(self.num_nodes)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every node."""
        self.stop()

    def stop(self) -> None:
        """Stop the nodes that this object started, the head last."""
        for process, _ in reversed(self._nodes):
            # `ray start` leads its own process group: raylet, workers, dashboard.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_S)
        self._nodes.clear()
        self._stack.close()

    def _start_head(self, *options: str, **variables: str) -> None:
        port, dashboard = self.gcs.rpartition(":")[2], self.dashboard.rpartition(":")[2]
        self._start(
            "--head",
            f"--port={port}",
            f"--dashboard-host={HOST}",
            f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={_free_ports(1)[0]}",  # 10001 may be another user's
            *options,
            folder="head",
            **variables,
        )
        self._wait(1)

    def add_node(self, **variables: str) -> None:
        """Start one more worker, and wait until it has joined.

        Args:
            variables: Environment variables of that node.
        """
        num_alive = self.num_alive()
        self._start_worker(**variables)
        self._wait(num_alive + 1)

    @property
    def pids(self) -> list[int]:
        """The ids of the nodes' processes, the head's first; all others descend from them."""
        return [process.pid for process, _ in self._nodes]

    def kill_node(self, number: int = -1) -> None:
        """Kill a node with all its processes, and wait until the cluster has noticed.

        Args:
            number: Its place in `pids`; by default the newest worker.
        """
        num_alive, (process, _) = self.num_alive(), self._nodes.pop(number)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + _READY_S
        while self.num_alive() >= num_alive and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def drain_node(self, number: int, within_s: int) -> None:
        """Tell Ray that a worker node will go, as an operator or an autoscaler does.

        Args:
            number: Its place in `pids`.
            within_s: Seconds after which it goes: `kill_node` is the caller's.
        """
        (noted,) = self._nodes[number].folder.glob("session_2*/metrics_agent_port_*")
        command = f"""{sys.executable} -m ray.scripts.scripts drain-node --address {self.gcs}
            --node-id {noted.name.rpartition("_")[2]} --reason DRAIN_NODE_REASON_PREEMPTION
            --reason-message told --deadline-remaining-seconds {within_s}"""
        subprocess.run(command.split(), env=os.environ | self.environment, check=True)

    def _start_worker(self, **variables: str) -> None:
        folder = f"node{self._num_started}"
        self._start(f"--address={self.gcs}", folder=folder, **variables)

    def _start(self, *options: str, folder: str, **variables: str) -> None:
        listen, grpc, metrics, runtime = _free_ports(4)
        log = self._stack.enter_context(open(self.folder / f"node{self._num_started}.log", "wb"))
        self._num_started += 1
        binaries = Path(sys.executable).parent
        environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A node that is gone is missed after five of these; by default after 15 s.
            "RAY_health_check_period_ms": "1000",
            **keeping_workers(self.cpus_per_node),
            # So that `python` in a job's command is the one of the locked environment.
            "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
            **variables,
        }
        environment.pop("RAY_ADDRESS", None)
        environment.pop("RAY_AUTH_TOKEN", None)  # which goes before the file
        environment.pop(LOOPBACK_ONLY, None)  # with it, `ray start` refuses a second node
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "cluster.loopback_node"),
                *("start", "--block", "--disable-usage-stats"),
                f"--node-ip-address={HOST}",
                f"--num-cpus={self.cpus_per_node:g}",
                f"--temp-dir={self.folder / folder}",
                f"--object-store-memory={_OBJECT_STORE_BYTES}",
                f"--dashboard-agent-listen-port={listen}",
                f"--dashboard-agent-grpc-port={grpc}",
                f"--metrics-export-port={metrics}",
                f"--runtime-env-agent-port={runtime}",
                # Linux chooses: by default all nodes here take those of workers from 10002 on.
                *("--min-worker-port=0", "--max-worker-port=0"),
                *options,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            cwd=_ROOT,
        )
        self._nodes.append(_Node(process, self.folder / folder))

    def _wait(self, num_nodes: int) -> None:
        """Wait until the dashboard counts this many nodes alive."""
        deadline = time.monotonic() + _READY_S
        while self.num_alive() < num_nodes:
            ended = [node for node in self._nodes if node.process.poll() is not None]
            if ended or time.monotonic() > deadline:
                number = self._nodes.index(ended[0]) if ended else len(self._nodes) - 1
                text = (self.folder / f"node{number}.log").read_text(errors="replace")
                raise RuntimeError(f"node {number} of the cluster did not start:\n{text[-2000:]}")
            time.sleep(_POLL_S)

    def num_alive(self) -> int:
        """Return how many nodes are alive; 0 while the dashboard does not answer."""
        request = urllib.request.Request(
            f"{self.dashboard}/nodes?view=summary",
            headers={"Authorization": f"Bearer {self.token_path.read_text()}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                nodes = json.load(answer)["data"]["summary"]
        except (OSError, urllib.error.URLError):
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)


def _free_ports(count: int) -> list[int]:
    """Return distinct ports that are free now, and that no system gives to a connection."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket() as sock, suppress(OSError):
            sock.bind((HOST, port))
            found.add(port)
    return list(found)


def main() -> None:
    """Keep a cluster until Ctrl-C, SIGTERM, or the end of its terminal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num-nodes", type=int, default=3, help="head and workers")
    parser.add_argument("--cpus-per-node", type=float, default=2, help="logical CPUs of a node")
    options = parser.parse_args()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with LoopbackCluster(options.num_nodes, options.cpus_per_node) as cluster:
        print(f"{options.num_nodes} nodes are up; in another terminal:")
        for name, value in cluster.environment.items():
            print(f"  export {name}={value}")
        print(
            '  make submit JOB=train ARGS="--storage /tmp/qa-runs"\nCtrl-C stops them.', flush=True
        )
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping ...", flush=True)


if __name__ == "__main__":
    main()
