"""Where the weights of a model are kept: on one device, or spread if it is larger than one."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Placement = Literal["single", "auto", "cpu", "disk"]


def place(
    model: PreTrainedModel,
    device: str,
    placement: Placement = "single",
    max_memory: Sequence[str] | None = None,
) -> torch.device:
    """Place a model's weights; its logits are the same under every placement.

    Args:
        model: On the CPU, in evaluation mode; changed in place.
        device: cpu or cuda, for the arithmetic.
        placement: `single`: all of it on the device. `auto`: layer by layer over all GPUs of this
            machine, then its memory, then its disk. `cpu`, `disk`: in memory or on disk, and a
            layer is on the device only while it is used.
        max_memory: Limits for `auto`, such as `0=10GiB` and `cpu=30GiB`; None: what is free.

    Returns:
        The device of the model's inputs.
    """
    import accelerate
    import torch

    first = torch.device(device)
    if placement == "single":
        model.to(first)  # type: ignore[arg-type]
    elif placement == "cpu":
        accelerate.cpu_offload(model, execution_device=first)
    elif placement == "disk":
        accelerate.disk_offload(model, _folder_of(model), execution_device=first)
    else:
        devices = accelerate.infer_auto_device_map(
            model,
            max_memory=_limits(max_memory),
            no_split_module_classes=list(model._no_split_modules or []),
        )
        if set(devices.values()) == {"disk"}:  # dispatch_model would treat it as a single device
            accelerate.disk_offload(model, _folder_of(model), execution_device=first)
        else:
            accelerate.dispatch_model(model, devices, offload_dir=_folder_of(model))
    return first


def _limits(max_memory: Sequence[str] | None) -> dict[int | str, int | str] | None:
    """Return the limits as accelerate takes them; only the disk is used without a limit."""
    if max_memory is None:
        return None
    pairs = (entry.split("=") for entry in max_memory)
    return {int(name) if name.isdigit() else name: size for name, size in pairs}


def _folder_of(model: Any) -> str:
    """Make a temporary folder that is deleted with the model."""
    folder = tempfile.mkdtemp(prefix="qa-offload-")
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return folder
