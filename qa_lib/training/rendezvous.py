"""How the ranks of Ray Train find each other: on one machine without a port of torch's own."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch import config as torch_config

_STORE = "store"


class GroupConfig(TorchConfig):
    """TorchConfig whose ranks meet at a file where one machine holds them all.

    Torch's own store listens on all interfaces, and whoever reaches it can set and read its keys.
    """

    @property
    def backend_cls(self) -> type[_Backend]:
        """Return the class that joins and leaves the group."""
        return _Backend


class _Backend(torch_config._TorchBackend):
    """Joins the ranks over a file that this user alone can open; over TCP on several machines."""

    _folder: str | None = None

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        self._folder = None
        nodes = worker_group.execute(lambda: ray.get_runtime_context().get_node_id())
        if len(set(nodes)) > 1:
            super().on_start(worker_group, backend_config)
            return
        self._folder = worker_group.execute_single(0, _make_folder)
        worker_group.execute(torch_config._set_torch_distributed_env_vars)
        joining = [
            worker_group.execute_single_async(
                rank, _join, backend_config, self._folder, rank, len(nodes)
            )
            for rank in range(len(nodes))
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        try:
            super().on_shutdown(worker_group, backend_config)
        finally:
            if self._folder is not None:
                # On the ranks' own node; elsewhere a small file stays among the temporary ones.
                shutil.rmtree(self._folder, ignore_errors=True)


def _make_folder() -> str:
    return tempfile.mkdtemp(prefix="qa-group-")  # mode 0700


def _join(config: TorchConfig, folder: str, rank: int, world_size: int) -> None:
    # Otherwise gloo and NCCL listen on the interface that the host's name leads to.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    assert config.backend is not None
    torch_config._setup_torch_process_group(
        backend=config.backend,
        world_rank=rank,
        world_size=world_size,
        init_method=f"file://{folder}/{_STORE}",
        timeout_s=config.timeout_s,
    )
