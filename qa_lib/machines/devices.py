"""What a device can do: its precisions, its fastest matrix products, and its speed."""

from __future__ import annotations

import math
import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from qa_lib.machines import cgroups

Products = Literal["mkl", "onednn"]
"""A library of float32 matrix products on a CPU."""

BF16_CAPABILITY = (8, 0)
"""Compute capability at which bf16 begins."""

_GPU_UTILISATION = 0.3
_CPU_UTILISATION = 0.9
_FLOAT32_ERROR = 5e-6  # of the largest value; rounding to bf16 gives some 1e-3


@dataclass(frozen=True)
class Gpu:
    """A model of GPU, from its data sheet.

    Attributes:
        teraflops: Peak of its tensor cores in half precision, without sparsity, in 1e12 per second.
        capability: CUDA compute capability.
        memory_gb: Memory, in 1e9 bytes.
    """

    teraflops: float
    capability: tuple[int, int]
    memory_gb: int


# From capability 7.5 on, where the locked torch's CUDA 13 begins. A name that contains another
# stands before it.
GPUS = {
    "T4": Gpu(65, (7, 5), 16),
    "L4": Gpu(121, (8, 9), 24),
    "A100": Gpu(312, (8, 0), 40),
    "A10": Gpu(125, (8, 6), 24),
    "H100": Gpu(989, (9, 0), 80),
    "H200": Gpu(989, (9, 0), 141),
}


def num_local_cpus(root: str = "/") -> int:
    """Return the cores that this process may use: a container's quota of CPU time counts.

    Args:
        root: Where proc and sys are mounted.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    most = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for folder, version in cgroups.folders("cpu", Path(root)):
        with suppress(OSError, ValueError):  # no quota: no file, or `max`
            quota, period = map(int, _quota(folder, version))
            if quota > 0:  # version 1 writes -1 for none
                most = min(most, math.ceil(quota / period))
    return most


def _quota(folder: Path, version: int) -> list[str]:
    """Return the microseconds of CPU time that a cgroup has, and in how many."""
    if version == 2:
        return (folder / "cpu.max").read_text().split()
    return [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]


def name_deepspeed_device() -> None:
    """Tell DeepSpeed its device before it is imported: it warns if it has to detect a CPU itself.

    transformers imports it too, when it saves a model.
    """
    import torch

    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(wish: str, device: str, gpu: str = "none") -> str:
    """Return fp32, bf16 or fp16; `auto` is judged on the machine that computes.

    Compute capability decides on a GPU: `torch.cuda.is_bf16_supported()` is true on a T4, which
    only emulates bf16.

    Args:
        wish: `train.precision`.
        device: cpu or cuda.
        gpu: One of `GPUS` in a preview of another machine; none is this machine's.
    """
    import torch

    if wish != "auto":
        return wish
    if device == "cuda":
        capability = torch.cuda.get_device_capability() if gpu == "none" else GPUS[gpu].capability
        return "bf16" if capability >= BF16_CAPABILITY else "fp16"
    return "fp32"  # what is faster on a CPU is measured: see models.kernels


def set_up_cpu(num_threads: int) -> None:
    """Set torch's threads."""
    import torch

    torch.set_num_threads(num_threads)


def has_onednn() -> bool:
    """Whether this torch has oneDNN."""
    import torch

    return torch.backends.mkldnn.is_available()


def products() -> Products:
    """Return the library that this process multiplies float32 with."""
    return "mkl" if _matmul().fp32_precision == "none" else "onednn"


def use_products(library: Products) -> None:
    """Choose the library of this process's float32 matrix products on a CPU.

    torch multiplies float32 with Intel's MKL, which uses AVX2 at most on AMD's processors. torch's
    only switch for oneDNN permits rounding to bf16: see `onednn_is_exact`.

    Latencies are measured with torch's default, as users run models: see `as_torch_comes`.
    """
    _matmul().fp32_precision = "none" if library == "mkl" else "bf16"


@cache
def onednn_is_exact() -> bool:
    """Try whether oneDNN's float32 products are float32 here, or rounded to bf16 (with AMX)."""
    import torch

    before = products()
    use_products("onednn")
    try:
        for rows, inner, columns in ((256, 384, 384), (64, 1024, 256)):
            generator = torch.Generator().manual_seed(0)
            a = torch.randn(rows, inner, generator=generator)
            b = torch.randn(columns, inner, generator=generator)
            exact = a.double() @ b.double().T
            error = (torch.nn.functional.linear(a, b) - exact).abs().max() / exact.abs().max()
            if float(error) > _FLOAT32_ERROR:
                return False
    finally:
        use_products(before)
    return True


@contextmanager
def as_torch_comes() -> Iterator[None]:
    """Restore torch's default matrix products, for latencies that are measured inside."""
    before = products()
    use_products("mkl")
    try:
        yield
    finally:
        use_products(before)


def processor_name() -> str:
    """Return the model of this machine's processor, as the system names it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _matmul() -> Any:
    import torch

    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def flops_per_second(device: str, precision: str, gpu: str = "none") -> float:
    """Estimate the floating-point operations per second that training reaches on one device.

    On a CPU a matrix product is timed; on a GPU (`gpu` as in `resolve_precision`) the published
    peak of its model counts.
    """
    if device == "cuda":
        import torch

        name = torch.cuda.get_device_name() if gpu == "none" else gpu
        peak = next((sheet.teraflops for key, sheet in GPUS.items() if key in name), 50.0)
        return peak * 1e12 * _GPU_UTILISATION / (8 if precision == "fp32" else 1)
    return _CPU_UTILISATION * matrix_flops_per_second(precision)


def matrix_flops_per_second(precision: str) -> float:
    """Time a large fp32 or bf16 matrix product on this CPU; floating-point operations a second."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.ones(2048, 512, dtype=dtype), torch.ones(512, 2048, dtype=dtype)
    a @ b  # the first call sets the kernel up
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * a.numel() * b.shape[1] / min(seconds)


def peak_memory_bytes(device: str) -> int:
    """Return the most memory this process has used: on cuda or cuda:N the GPU's, else its RAM."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
