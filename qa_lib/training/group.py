"""The process of one rank, and the group that it belongs to."""

from __future__ import annotations

import os
from typing import Any
from warnings import filterwarnings

import numpy as np
import torch
import torch.distributed as dist

from qa_lib.machines import devices


def prepare_process(device: str, num_threads: int) -> None:
    """Set torch's CPU threads and DeepSpeed's device; call it before DeepSpeed is imported."""
    # Without it DeepSpeed guesses, and prints that it found no GPU.
    os.environ["DS_ACCELERATOR"] = device
    # DeepSpeed calls collectives that torch has renamed: a warning per parameter and step.
    filterwarnings("ignore", "`torch.distributed.* is deprecated", FutureWarning)
    devices.set_up_cpu(num_threads)


def join_group(
    device: str, num_threads: int, *, rank: int = 0, world_size: int = 1, store: Any = None
) -> None:
    """Prepare this process outside Ray Train, and join a process group on this machine.

    The ranks meet at a store of torch.distributed; a group of one needs none.
    """
    prepare_process(device, num_threads)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "nccl" if device == "cuda" else "gloo"
    store = store or dist.HashStore()
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def seed_dropout(seed: int, step: int, place: int) -> None:
    """Seed torch's random state for one micro-batch, wherever and whenever it is trained.

    Args:
        seed: Of the run.
        step: Of the batch.
        place: Of the micro-batch in the global batch.
    """
    (state,) = np.random.SeedSequence([seed, step, place]).generate_state(1, np.uint64)
    torch.manual_seed(int(state))


def agree(value: Any) -> Any:
    """Return rank 0's value on every rank."""
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather(value: Any) -> list[Any]:
    """Return every rank's value, in the order of ranks, on every rank."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
