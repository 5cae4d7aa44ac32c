"""The micro-batch: windows of a rank's forward and backward pass.

With `--train.micro-batch auto` it is the largest that fits. On a GPU one process tries sizes before
the group of workers forms: it allocates what a rank will hold and takes micro-batches of the
longest windows. On a CPU it is estimated, never tried: running out of memory there takes the
machine down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.errors import ResourceError
from qa_lib.machines import devices, memory
from qa_lib.machines.memory import memory_per_rank
from qa_lib.training.correspondence import teacher_bytes

if TYPE_CHECKING:
    import torch

    from qa_lib.machines.allocation import Allocation

# Parts of the memory that are left for fragments, collectives and other processes.
_GPU_MARGIN, _CPU_MARGIN = 0.1, 0.3
_DEFAULT = 16  # where nothing is measured


def micro_batch_of(settings: Settings, allocation: Allocation, longest: int) -> int:
    """Return a run's micro-batch; for `auto`, measured on a GPU and estimated on a CPU.

    Args:
        settings: Of the run.
        allocation: Of its workers; with GPUs, Ray must be connected.
        longest: Tokens of the longest window.

    Raises:
        ResourceError: Not even one window fits.
    """
    train = settings.train
    if train.micro_batch != "auto":
        return unmeasured_micro_batch(settings)
    share = train.global_batch // train.max_workers
    if allocation.device == "cpu":
        return estimate(settings, longest, memory.free_memory_per_worker(train.max_workers))
    import ray

    # A process of its own: when it ends, all of the device's memory is free again.
    probe = ray.remote(num_gpus=1, num_cpus=allocation.cpus_per_worker, max_calls=1)(_probe)
    return ray.get(probe.remote(settings, longest, share))


def unmeasured_micro_batch(settings: Settings) -> int:
    """Return the largest divisor of a rank's share up to the setting; up to 16 for `auto`."""
    train = settings.train
    most = _DEFAULT if train.micro_batch == "auto" else train.micro_batch
    return largest_fitting(train.global_batch // train.max_workers, lambda size: size <= most)


def largest_fitting(share: int, fits: Callable[[int], bool]) -> int:
    """Return the largest divisor of a rank's share that fits: the whole share, else by bisection.

    Args:
        share: Windows of a rank in an optimizer step.
        fits: Says whether a micro-batch of this size fits; if one does, smaller ones do too.

    Raises:
        ResourceError: Not even one window fits.
    """
    sizes = [size for size in range(1, share + 1) if share % size == 0]
    if fits(share):
        return share
    low, high = -1, len(sizes) - 1  # sizes[low] fits, sizes[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(sizes[middle]) else (low, middle)
    if low < 0:
        raise ResourceError(
            "Not even one window fits the memory of a worker.",
            "Lower --data.max-length, turn on --train.gradient-checkpointing, raise "
            "--train.zero-stage with more workers, or take a smaller model.",
        )
    return sizes[low]


def estimate(settings: Settings, longest: int, free_bytes: int) -> int:
    """Return the largest micro-batch of windows of `longest` tokens that fits a CPU worker.

    Raises:
        ResourceError: Not even one window fits the free bytes, beside the training state.
    """
    train = settings.train
    # On a CPU weights, gradients and moments are fp32 at any precision.
    num_parameters = models.num_stored_parameters(settings.model.name)
    states = sum(memory_per_rank(num_parameters, train, "fp32", train.min_workers).values())
    states += teacher_bytes(train)
    room = (1 - _CPU_MARGIN) * free_bytes - states - memory.WORKER_BYTES
    config = models.load_config(settings.model.name)
    each = activation_bytes(config, longest, checkpointing=train.gradient_checkpointing)
    return largest_fitting(train.global_batch // train.max_workers, lambda n: n * each <= room)


def activation_bytes(config: Any, num_tokens: int, *, checkpointing: bool) -> int:
    """Bound the fp32 bytes that a window of a model's configuration keeps for the backward pass.

    With checkpointing, layers keep only their input, and are computed again one at a time.

    Source:
        Korthikanti et al. 2022, section 4.1: bytes of a layer in 16 bits, 34 times the hidden size
        if the intermediate size is four times that; twice as many in fp32.
    """
    hidden, heads = config.hidden_size, config.num_attention_heads
    intermediate = getattr(config, "intermediate_size", 4 * hidden)
    layer = 2 * num_tokens * (18 * hidden + 4 * intermediate + 5 * heads * num_tokens)
    kept = 4 * num_tokens * hidden if checkpointing else layer
    return config.num_hidden_layers * kept + layer


def _probe(settings: Settings, longest: int, share: int) -> int:
    """Return the largest micro-batch that fits this process's GPU."""
    import torch

    from qa_lib.training.engine import REDUCE_BUCKET

    train = settings.train
    precision = devices.resolve_precision(train.precision, "cuda")
    model = models.load(settings.model.name, seed=settings.seed, dropout=train.dropout).train()
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    states = memory_per_rank(models.num_parameters(model), train, precision, train.min_workers)
    if precision == "fp16":
        model.half()
    device = torch.device("cuda")
    # All parameters, although a rank of ZeRO 3 holds a part of them only: on the safe side.
    model.to(device)
    optimizer_bytes = 0 if train.offload_optimizer else states["optimizer"]
    num_bytes = optimizer_bytes + 4 * REDUCE_BUCKET + teacher_bytes(train)
    held = torch.empty(num_bytes, dtype=torch.uint8, device=device)
    total = torch.cuda.get_device_properties(device).total_memory

    def fits(num_windows: int) -> bool:
        torch.cuda.reset_peak_memory_stats()
        try:
            take_micro_batch(model, num_windows, longest, device, precision)
            return torch.cuda.max_memory_reserved() <= (1 - _GPU_MARGIN) * total
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()

    size = largest_fitting(share, fits)
    del held
    return size


def take_micro_batch(
    model: Any, num_windows: int, num_tokens: int, device: torch.device, precision: str
) -> None:
    """Run a micro-batch of artificial windows forwards and backwards, to measure its memory.

    The model is in training mode and on the device, and itself in fp16 if that is the precision.
    """
    import torch

    from qa_lib.training.losses import window_losses

    tokens = torch.ones((num_windows, num_tokens), dtype=torch.int64, device=device)
    positions = torch.zeros(num_windows, dtype=torch.int64, device=device)
    batch = {"attention_mask": tokens, "start_positions": positions, "end_positions": positions}
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        output = model(input_ids=tokens, attention_mask=tokens)
        losses = window_losses(output.start_logits, output.end_logits, batch)
    losses.sum().backward()
