"""Where a model's weights lie while it answers, so that one larger than a device still does."""

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
    """Put a model where it shall lie. Its logits are the same wherever that is.

    Args:
        model: On the CPU, in evaluation mode; changed in place.
        device: cpu or cuda, where is computed.
        placement: `single`: all of it on the device. `auto`: layer by layer over all GPUs of this
            machine, then its memory, then its disk. `cpu`, `disk`: in its memory or on its disk,
            each layer on the device only while it is used.
        max_memory: For `auto`, the most that goes where: `0=10GiB`, `cpu=30GiB`; None: what is
            free.

    Returns:
        Where the model's inputs belong.
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
        whole = model._no_split_modules
        limits = _limits(max_memory)
        devices = accelerate.infer_auto_device_map(
            model, max_memory=limits, no_split_module_classes=list(whole or [])
        )
        if set(devices.values()) == {"disk"}:  # which dispatch_model takes for a single device
            accelerate.disk_offload(model, _folder_of(model), execution_device=first)
        else:
            accelerate.dispatch_model(model, devices, offload_dir=_folder_of(model))
    return first


def _limits(max_memory: Sequence[str] | None) -> dict[int | str, int | str] | None:
    """Return accelerate's limits: what is not named gets nothing, but for the disk."""
    if max_memory is None:
        return None
    pairs = (entry.split("=") for entry in max_memory)
    return {int(name) if name.isdigit() else name: size for name, size in pairs}


def _folder_of(model: Any) -> str:
    """Make a temporary folder that goes when the model does."""
    folder = tempfile.mkdtemp(prefix="qa-offload-")
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return folder
