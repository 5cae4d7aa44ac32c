"""How the ranks of Ray Train find each other: on one machine without a port of torch's own.

Ray's TorchConfig imports torch wherever it is unpickled: three seconds of each start in Ray Train's
controller, which computes nothing and for which the ranks wait. Here only the ranks import it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

import ray
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig

_STORE = "store"
_LEAVE_TIMEOUT_S = 5.0


@dataclass
class GroupConfig(BackendConfig):
    """In place of TorchConfig: the ranks meet at a file where one machine holds them all.

    Torch's own store listens on all interfaces, and whoever reaches it can set and read its keys.

    Attributes:
        backend: gloo or nccl.
    """

    backend: str

    @property
    def backend_cls(self) -> type[Backend]:
        """Return the class that joins and leaves the group."""
        return _Group

    @property
    def train_func_context(self) -> type[_OnItsDevice]:
        """Return the context of the training function."""
        return _OnItsDevice


class _Group(Backend):
    """Joins the ranks over a file that this user alone can open; over TCP on several machines."""

    share_cuda_visible_devices = True
    _folder: str | None = None

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        self._folder = None
        nodes = worker_group.execute(_node)
        if len(set(nodes)) > 1:
            address, port = worker_group.execute_single(0, get_address_and_port)
            meeting = {"MASTER_ADDR": str(address), "MASTER_PORT": str(port)}
            method = "env://"
        else:
            self._folder = worker_group.execute_single(0, _make_folder)
            method = f"file://{self._folder}/{_STORE}"
            # Otherwise gloo and NCCL listen on the interface that the host's name leads to.
            meeting = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
        joining = [
            worker_group.execute_single_async(
                rank, _join, backend_config.backend, method, meeting, rank, len(nodes)
            )
            for rank in range(len(nodes))
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        try:
            leaving = worker_group.execute_async(_leave, len(worker_group) > 1)
            ray.get(leaving, timeout=_LEAVE_TIMEOUT_S)
        except ray.exceptions.GetTimeoutError:
            pass  # a rank that hangs is ended with its process
        finally:
            if self._folder is not None:
                # On the ranks' own node; elsewhere a small file stays among the temporary ones.
                shutil.rmtree(self._folder, ignore_errors=True)


class _OnItsDevice:
    """Makes a rank's GPU the current one of its training thread, as TorchConfig does."""

    def __enter__(self) -> None:
        from ray.train.torch.config import TorchConfigContextManager

        self._context = TorchConfigContextManager()
        self._context.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._context.__exit__(*error)


def _node() -> str:
    node: str = ray.get_runtime_context().get_node_id()
    return node


def _make_folder() -> str:
    return tempfile.mkdtemp(prefix="qa-group-")  # mode 0700


def _join(backend: str, method: str, meeting: dict[str, str], rank: int, world_size: int) -> None:
    from ray.train.torch import config as torch_config

    from qa_lib.training import notice

    notice.heed_sigterm()  # here, because the ranks train in another thread
    for name, value in meeting.items():
        os.environ[name] = value if name.startswith("MASTER") else os.environ.get(name, value)
    torch_config._set_torch_distributed_env_vars()
    torch_config._setup_torch_process_group(
        backend=backend, world_rank=rank, world_size=world_size, init_method=method
    )


def _leave(destroy: bool) -> None:
    from ray.train.torch import config as torch_config

    torch_config._shutdown_torch(destroy_process_group=destroy)
