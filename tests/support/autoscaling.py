"""A cluster on this machine whose nodes Ray's autoscaler starts and deletes.

It reads cluster/gcp-t4.yaml; only the provider is another: Ray's fake one, for which a node is a
raylet on this machine. Autoscaler v2, its instance manager, GCS and raylets are those of a cloud.
"""

from __future__ import annotations

import json
from typing import Any

import psutil
from ray.autoscaler._private.fake_multi_node import node_provider
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from cluster import gcp
from cluster.loopback import LoopbackCluster

_HEAD = node_provider.FAKE_HEAD_NODE_TYPE
_OBJECT_STORE_BYTES = 200 * 2**20


class AutoscalingCluster(LoopbackCluster):
    """A head with one CPU, and T4 nodes of two CPUs that come on demand; no GPU is really there."""

    def __init__(self, idle_s: float) -> None:
        """Describe the cluster, whose idle workers go after `idle_s` seconds."""
        super().__init__(num_nodes=1, cpus_per_node=1)
        self.config = _configuration(self.gcs, idle_s)

    def _start_head(self, *options: str, **variables: str) -> None:
        path = self.folder / "autoscaling.yaml"
        path.write_text(json.dumps(self.config))
        super()._start_head(
            f"--autoscaling-config={path}",
            *options,
            RAY_FAKE_CLUSTER="1",
            RAY_enable_autoscaler_v2="1",
            RAY_CLOUD_INSTANCE_ID=FAKE_HEAD_NODE_ID,
            RAY_OVERRIDE_NODE_ID_FOR_TESTING=FAKE_HEAD_NODE_ID,
            AUTOSCALER_UPDATE_INTERVAL_S="1",
            **variables,
        )

    def said(self) -> str:
        """Return the end of the autoscaler's log."""
        logs = self.folder / "head" / "session_latest" / "logs"
        return (logs / "monitor.log").read_text(errors="replace")[-6000:]

    def workers(self) -> dict[str, psutil.Process]:
        """Return the raylets of the worker nodes, by the id that the provider gave them."""
        found = {}
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"] == "raylet" and f"={self.gcs}" in str(process.cmdline()):
                    node = process.environ().get("RAY_OVERRIDE_NODE_ID_FOR_TESTING", "")
                    found[node] = process
            except psutil.Error:  # it has just ended
                continue
        return {node: raylet for node, raylet in found.items() if node != FAKE_HEAD_NODE_ID}


def _configuration(gcs: str, idle_s: float) -> dict[str, Any]:
    config = gcp.cluster_config({"PROJECT": "my-project"})
    types = config["available_node_types"]
    head, worker = types.pop("head"), types["t4"]
    head["resources"] = {"CPU": 1}
    worker["resources"] |= {"CPU": 2, "object_store_memory": _OBJECT_STORE_BYTES}
    return config | {
        "available_node_types": {_HEAD: head, **types},
        "head_node_type": _HEAD,
        "idle_timeout_minutes": idle_s / 60,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "provider": {
            "type": "external",
            "module": f"{node_provider.__name__}.{node_provider.FakeMultiNodeProvider.__name__}",
            "gcs_address": gcs,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            # Its nodes share an address, and nothing is installed on them by SSH.
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
    }
