"""Facts of a node: versions, GPU and driver, disk, and access to what a job needs."""

from __future__ import annotations

import importlib.util
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
from qa_lib.data import is_on_hub, load_questions, splits_of
from qa_lib.doctor.finding import Finding
from qa_lib.errors import DataError, UserError
from qa_lib.machines import devices
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.provenance import versions

PROBE_S = 8.0
"""Seconds that all nodes together have to answer; later ones become findings."""


@dataclass(frozen=True)
class NodeFacts:
    """What a probe reports of one node.

    Attributes:
        name: For messages.
        versions: Of the libraries that must agree.
        gpus: Name and compute capability of each GPU.
        driver_cuda: Newest CUDA version that the driver supports, such as (12, 4); None without
            a driver.
        torch_cuda: CUDA version that torch was built for; None for a CPU build.
        free_bytes: Of the disk with temporary files.
        errors: Problem and remedy of each check that failed, by its name.
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


def probe(settings: Settings, name: str, token: str, *, thorough: bool = False) -> NodeFacts:
    """Gather the facts of the node that this runs on; nodes of a cluster run it as a Ray task.

    It imports neither torch nor transformers: nodes that share a machine would take seconds each.

    Args:
        settings: Of the job that is to run.
        name: Of the node, for messages.
        token: Names the file left in the storage for `check_shared_storage`.
        thorough: Also import DeepSpeed, and open model and data.
    """
    checks: dict[str, Callable[[], Any]] = {
        "storage": lambda: _leave_mark(settings, token, name),
        "model": lambda: _reach(settings.model.name, "model.name"),
        "data": lambda: _reach(settings.data.source, "data.source"),
    }
    if thorough:
        checks["DeepSpeed"] = _import_deepspeed
        checks["model"] = lambda: models.load_config(settings.model.name)
        checks["data"] = lambda: _read_questions(settings)
        if settings.train.teacher is not None:
            teacher = settings.train.teacher
            checks["teacher"] = lambda: models.load_config(teacher)
    errors: dict[str, tuple[str, str]] = {}
    for what, check in checks.items():
        try:
            check()
        except UserError as error:
            errors[what] = (error.problem, error.remedy)
        except Exception as error:  # any error becomes a finding
            errors[what] = (f"{type(error).__name__}: {storage.first_line(error)}", "")
    driver_cuda, gpus = _query_driver()
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


def _read_questions(settings: Settings) -> None:
    """Read and check every split, or see that a hub dataset may be there: jobs download it."""
    for split in splits_of(settings.data):
        if not is_on_hub(settings.data, split):
            load_questions(settings.data, split)


def _reach(name: str, setting: str) -> None:
    """Check that a path or URL exists; hub ids and `embedded` pass.

    Raises:
        DataError: Nothing is at that path or URL.
    """
    if name == "embedded":
        return
    place = Folder(name, patient=False)
    is_path = not storage.is_local(name) or name.startswith((".", "~", "/", "file://"))
    if is_path and not place.info().is_file and not place.entries():
        raise DataError(
            f"{name} does not exist.",
            f"Give --{setting} a hub id, or a place that every node can read.",
        )


def _query_driver() -> tuple[tuple[int, int] | None, list[tuple[str, tuple[int, int]]]]:
    """Return the newest CUDA the NVIDIA driver supports, and each GPU's name and capability."""
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
    match = re.search(r"^cuda\b.*=\s*['\"](\d+)\.(\d+)", text, re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None


def _import_deepspeed() -> None:
    """Import what training imports; no setting needs an op that DeepSpeed has to compile."""
    devices.name_deepspeed_device()
    import deepspeed  # noqa: F401


def start_probes(settings: Settings, token: str) -> dict[Any, str]:
    """Start a probe on every node at once; return the nodes' names by pending result."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(probe)
    pending = {}
    for node in ray.nodes():
        if node["Alive"]:
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            pending[task.options(scheduling_strategy=there).remote(settings, name, token)] = name
    return pending


def collect(pending: dict[Any, str]) -> tuple[list[NodeFacts], list[Finding]]:
    """Return the facts that arrived in time, and a finding for each other node."""
    import ray

    done, late = ray.wait(list(pending), num_returns=len(pending), timeout=PROBE_S)
    facts: list[NodeFacts] = []
    findings: list[Finding] = []
    for answer in done:
        try:
            facts.append(ray.get(answer))
        except ray.exceptions.RayError as error:
            cause = str(error).strip().rpartition("\n")[2]  # the last line of a traceback
            problem = f"{pending[answer]} cannot run this code: {cause}"
            remedy = "Start its image with the locked environment (cluster/Dockerfile)."
            findings.append(Finding("nodes", "fault", problem, remedy))
    for answer in late:
        problem = f"{pending[answer]} has not answered within {PROBE_S:g} s"
        remedy = "Look at its load and its logs (`ray logs`); workers there may start late."
        findings.append(Finding("nodes", "note", problem, remedy))
    return facts, findings


def _marks(settings: Settings, token: str) -> Folder:
    return Folder(storage.join(settings.storage, f".doctor-{token}"), patient=False)


def _mark(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _leave_mark(settings: Settings, token: str, name: str) -> None:
    _marks(settings, token).write_text(_mark(name), name)


def remove_marks(settings: Settings, token: str) -> None:
    """Delete the files that probes left in the storage."""
    with suppress(OSError, UserError):
        _marks(settings, token).remove()


def check_shared_storage(settings: Settings, token: str, names: list[str]) -> Finding:
    """Check that the file of every node in the storage is visible from here."""
    marks = _marks(settings, token)
    missing = [name for name in names if not marks.exists(_mark(name))]
    if missing:
        return Finding(
            "shared storage",
            "fault",
            f"files that {', '.join(missing)} wrote to {settings.storage} are not visible here",
            "Give --storage a bucket, or a folder that all nodes mount.",
        )
    return Finding("shared storage", "good", f"{len(names)} nodes write to {settings.storage}")
