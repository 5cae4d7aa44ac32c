"""Google Compute Engine as Ray's launcher uses it, without the account that Ray would make.

Ray's own provider creates a service account that may administer every machine and every bucket of
the project, runs the head as it, and puts an SSH key on all machines of the project. The accounts,
the network and the key of this cluster are in its configuration already, so nothing is left to
bootstrap. `gcp-t4.yaml` names this class; the image holds it for the head's autoscaler.
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.gcp.node_provider import GCPNodeProvider


class Provider(GCPNodeProvider):
    """Ray's node provider for Google Cloud with a bootstrap that changes nothing in the project."""

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration as it is: `cluster.gcp` has completed it."""
        return cluster_config
