"""What a node has: versions, GPU and driver, disk; and whether it reaches what a job needs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.data import splits_of
from qa_lib.doctor.connectivity import CONTACT_S
from qa_lib.doctor.finding import Finding
from qa_lib.errors import DataError, UserError
from qa_lib.runs import storage
from qa_lib.runs.run_folder import versions

PROBE_S = 8.0
"""How long all nodes together are given, in seconds; what has not answered then is a finding."""


@dataclass(frozen=True)
class NodeFacts:
    """What a probe found on one node.

    Attributes:
        name: How messages name the node.
        versions: Of the libraries that must agree.
        gpus: Of each GPU, its name and compute capability.
        driver_cuda: Newest CUDA version that the driver runs, such as (12, 4); None without one.
        torch_cuda: CUDA version that torch was built for; None for a CPU build.
        free_bytes: Of the disk with temporary files.
        errors: What could not be done, by the name of the check: the error's two halves.
        checked: Names of the checks that were made.
    """

    name: str
    versions: dict[str, str]
    gpus: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    driver_cuda: tuple[int, int] | None = None
    torch_cuda: tuple[int, int] | None = None
    free_bytes: int = 2**62
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    checked: tuple[str, ...] = ()


def probe(settings: Settings, name: str, token: str, *, thoroughly: bool = False) -> NodeFacts:
    """Look at the node that this runs on; as a Ray task, at a node of the cluster.

    It imports neither torch nor transformers, whose seconds add up over the nodes of one machine.

    Args:
        settings: Of the job that is to run.
        name: How messages name the node.
        token: Names the file that is left in the storage, for `shared_storage`.
        thoroughly: Also import DeepSpeed, and read the model's configuration.
    """
    checks: dict[str, Callable[[], Any]] = {
        "storage": lambda: _leave_mark(settings, token, name),
        "model": lambda: _reach(settings.model.name, "model.name"),
        "data": lambda: _reach(settings.data.source, "data.source"),
    }
    if thoroughly:
        checks["DeepSpeed"] = _import_deepspeed
        checks["model"] = lambda: models.load_config(settings.model.name)
        checks["data"] = lambda: splits_of(settings.data)
    errors: dict[str, tuple[str, str]] = {}
    for what, check in checks.items():
        try:
            check()
        except UserError as error:
            errors[what] = (error.problem, error.remedy)
        except Exception as error:  # whatever it is, it is a finding
            errors[what] = (f"{type(error).__name__}: {storage.first_line(error)}", "")
    driver_cuda, gpus = _ask_driver()
    return NodeFacts(
        name=name,
        versions=versions(),
        gpus=gpus,
        driver_cuda=driver_cuda,
        torch_cuda=_cuda_of_torch(),
        free_bytes=shutil.disk_usage(tempfile.gettempdir()).free,
        errors=errors,
        checked=tuple(checks),
    )


def _reach(name: str, setting: str) -> None:
    """Look whether a path or URL is there; what is in the packages or on the hub always is.

    Raises:
        DataError: It is not.
    """
    if name == "embedded":
        return
    filesystem, path = storage.resolve(name, CONTACT_S)
    is_path = not storage.is_local(name) or name.startswith((".", "~", "/", "file://"))
    if is_path and not filesystem.get_file_info(path).is_file:
        from pyarrow.fs import FileSelector

        if not filesystem.get_file_info(FileSelector(path, allow_not_found=True)):
            raise DataError(
                f"{name} is not there.",
                f"Give --{setting} a hub id, or a place that every node can read.",
            )


def _ask_driver() -> tuple[tuple[int, int] | None, list[tuple[str, tuple[int, int]]]]:
    """Return the newest CUDA that the NVIDIA driver runs, and name and capability of each GPU."""
    import ctypes

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, []
    number = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDriverGetVersion(ctypes.byref(number)):
        return None, []
    driver = (number.value // 1000, number.value % 1000 // 10)
    cuda.cuDeviceGetCount(ctypes.byref(number))
    gpus = []
    for index in range(number.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        name = ctypes.create_string_buffer(128)
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetName(name, len(name), device)
        # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        gpus.append((name.value.decode(), (major.value, minor.value)))
    return driver, gpus


def _cuda_of_torch() -> tuple[int, int] | None:
    """Return the CUDA that torch was built for, from its version file; None for a CPU build."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b.*=\s*['\"](\d+)\.(\d+)", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def _import_deepspeed() -> None:
    """Import what training imports. No setting of ours uses an op that DeepSpeed has to compile."""
    import torch

    # DeepSpeed prints a warning if it has to detect a CPU itself.
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    import deepspeed  # noqa: F401


def start_probes(settings: Settings, token: str) -> dict[Any, str]:
    """Start a probe on every node at once; return the names of those that are waited for."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(probe)
    waiting = {}
    for node in ray.nodes():
        if node["Alive"]:
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            waiting[task.options(scheduling_strategy=there).remote(settings, name, token)] = name
    return waiting


def collect(waiting: dict[Any, str]) -> tuple[list[NodeFacts], list[Finding]]:
    """Return what answered in time, and who did not."""
    import ray

    done, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=PROBE_S)
    facts, findings = [], []
    for answer in done:
        try:
            facts.append(ray.get(answer))
        except ray.exceptions.RayError as error:
            findings.append(
                Finding(
                    "nodes",
                    "fault",
                    f"{waiting[answer]} cannot run our code: {_last_line(error)}",
                    "Start its image with the locked environment (cluster/Dockerfile).",
                )
            )
    findings += [
        Finding(
            "nodes",
            "note",
            f"{waiting[answer]} has not answered within {PROBE_S:g} s",
            "Look at its load and its logs (`ray logs`); workers there may start late.",
        )
        for answer in late
    ]
    return facts, findings


def _mark(settings: Settings, token: str, name: str) -> str:
    safe = "".join(letter if letter.isalnum() else "-" for letter in name)
    return f"{settings.storage.rstrip('/')}/.doctor-{token}/{safe}"


def _leave_mark(settings: Settings, token: str, name: str) -> None:
    filesystem, path = storage.resolve(_mark(settings, token, name), CONTACT_S)
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    storage.write_text(filesystem, path, name)


def remove_marks(settings: Settings, token: str) -> None:
    """Delete what the probes left in the storage."""
    with suppress(OSError, UserError):
        filesystem, path = storage.resolve(_mark(settings, token, ""), CONTACT_S)
        filesystem.delete_dir(path.rstrip("/"))


def shared_storage(settings: Settings, token: str, names: list[str]) -> Finding:
    """Say whether what every node wrote into the storage is seen from here."""
    from pyarrow.fs import FileType

    missing = []
    for name in names:
        filesystem, path = storage.resolve(_mark(settings, token, name), CONTACT_S)
        if filesystem.get_file_info(path).type == FileType.NotFound:
            missing.append(name)
    if missing:
        return Finding(
            "shared storage",
            "fault",
            f"what {', '.join(missing)} wrote to {settings.storage} is not seen here",
            "Give --storage a bucket, or a folder that all nodes mount.",
        )
    return Finding("shared storage", "good", f"{len(names)} nodes write to {settings.storage}")


def _last_line(error: BaseException) -> str:
    """Return the end of a traceback as text, where its cause stands."""
    return str(error).strip().split("\n")[-1]
