"""Findings for a job, from its settings and the facts that probes return."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.doctor.finding import Finding
from qa_lib.doctor.probe import NodeFacts
from qa_lib.errors import UserError
from qa_lib.evaluation.analysis import semantic
from qa_lib.machines import memory
from qa_lib.machines.allocation import allocate, growth
from qa_lib.machines.devices import BF16_CAPABILITY
from qa_lib.runs import storage

_NUM_KEPT_CHECKPOINTS = 3  # the newest good one, the one before, and the one being written
_MIN_FREE_BYTES = 2 * 2**30
_REMEDIES = {
    "DeepSpeed": "Install the locked environment there: `make setup`, cluster/Dockerfile.",
    "storage": "Give --storage a folder or bucket that every node may write.",
    "model": "Give --model.name what every node can read: a hub id, a bucket, `embedded`.",
    "teacher": "Give --train.teacher what every node can read: a hub id, a bucket, a run folder.",
    "data": "Give --data.source what every node can read: a hub id or a bucket.",
}


def check_resources(settings: Settings) -> Finding:
    """Compare the workers of a job with what the cluster has, or can grow to."""
    try:
        allocation = allocate(settings.train, growth(settings))
    except UserError as error:
        return Finding("resources", "fault", error.problem, error.remedy)
    workers = f"{allocation.num_workers} workers on {allocation.device}"
    return Finding("resources", "good", f"{workers}, {allocation.cpus_per_worker:g} CPUs each")


def diagnose(
    settings: Settings, facts: list[NodeFacts], *, trains: bool = True
) -> Iterator[Finding]:
    """Yield the findings on the facts of all nodes; the first are the driver's own."""
    yield from _check_versions(facts)
    yield from _check_gpus(settings, facts)
    for node in facts:
        if node.free_bytes < _MIN_FREE_BYTES:
            yield Finding(
                "disk",
                "fault",
                f"{node.name} has {node.free_bytes / 2**30:.1f} GiB free for temporary files",
                f"Free {_MIN_FREE_BYTES / 2**30:.0f} GiB, or point TMPDIR to a larger disk.",
            )
    yield from check_storage_space(settings, trains=trains)
    for what, remedy in _REMEDIES.items():
        failed = [node for node in facts if what in node.errors]
        for node in failed:
            problem, own = node.errors[what]
            yield Finding(what, "fault", f"on {node.name}: {problem}", own or remedy)
        if not failed and what in facts[0].checked:
            yield Finding(what, "good", f"works from {_count(facts)}")


def _check_versions(facts: list[NodeFacts]) -> Iterator[Finding]:
    here = facts[0].versions
    for node in facts[1:]:
        differing = [
            f"{library} {node.versions.get(library, 'missing')} (here {version})"
            for library, version in here.items()
            if _comparable(library, node.versions.get(library)) != _comparable(library, version)
        ]
        if differing:
            yield Finding(
                "versions",
                "fault",
                f"{node.name} has {', '.join(differing)}",
                "Build its image from the same requirements.txt (cluster/Dockerfile).",
            )
    if all(node.versions == here for node in facts):
        yield Finding("versions", "good", f"the same on {_count(facts)}")


def _comparable(library: str, version: str | None) -> str:
    """Drop what may differ: Python's patch level, and the build (`+cpu`) of a wheel."""
    plain = (version or "").partition("+")[0]
    return plain.rpartition(".")[0] if library == "python" else plain


def _check_gpus(settings: Settings, facts: list[NodeFacts]) -> Iterator[Finding]:
    precision = settings.train.precision
    for node in facts:
        for name, capability in node.gpus:
            if precision == "bf16" and capability < BF16_CAPABILITY:
                yield Finding(
                    "precision",
                    "fault",
                    f"{name} on {node.name} has compute capability {_dotted(capability)}; bf16 "
                    f"needs {_dotted(BF16_CAPABILITY)}",
                    "Use --train.precision fp16 or auto.",
                )
        built, driver = node.torch_cuda, node.driver_cuda
        if driver is not None and built is not None and driver[0] < built[0]:
            yield Finding(
                "driver",
                "fault",
                f"{node.name}: the NVIDIA driver supports CUDA {_dotted(driver)} at most, torch "
                f"was built for {_dotted(built)}",
                "Update the driver, or install a torch built for that CUDA.",
            )
        elif driver is not None and built is None:
            yield Finding(
                "driver",
                "fault",
                f"{node.name} has a GPU, and a torch built for CPUs",
                "Make the environment there anew: `rm -rf .venv && make setup TORCH=pypi`.",
            )
    if not any(node.gpus for node in facts) and settings.train.device != "cuda":
        yield Finding("precision", "good", f"{precision} on CPUs")


def check_storage_space(settings: Settings, *, trains: bool) -> Iterator[Finding]:
    """Compare the free space of a local storage with the checkpoints that a training keeps."""
    if not storage.is_local(settings.storage):
        return
    needed = _checkpoint_bytes(settings) if trains else 0
    folder = os.path.abspath(os.path.expanduser(settings.storage.removeprefix("file://")))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        yield Finding(
            "disk",
            "fault",
            f"{settings.storage} has {free / 2**30:.1f} GiB free; checkpoints and model of this "
            f"job take {needed / 2**30:.1f}",
            "Free some, or give --storage a larger disk or a bucket.",
        )
    else:
        yield Finding("disk", "good", f"{free / 2**30:.0f} GiB free in {settings.storage}")


def check_encoder(settings: Settings) -> Iterator[Finding]:
    """Look for the sentence encoder now: it is first needed when training is over."""
    name = settings.evaluate.semantic_model
    if name is None:
        return
    try:
        semantic.find(name)
    except UserError as error:
        yield Finding("sentence encoder", "fault", error.problem, error.remedy)
    else:
        yield Finding("sentence encoder", "good", f"{name} is available")


def _checkpoint_bytes(settings: Settings) -> int:
    """Return the bytes of kept checkpoints and model; 0 where the model's size is unknown."""
    try:
        num_parameters = models.num_stored_parameters(settings.model.name)
    except (UserError, OSError):
        return 0
    train = settings.train
    states = memory.memory_per_rank(num_parameters, train, "fp32", train.max_workers)
    num_parts = train.max_workers if train.zero_stage > 0 else 1  # without ZeRO one rank writes it
    kept = states["parameters"] + num_parts * states["optimizer"]
    return _NUM_KEPT_CHECKPOINTS * kept + 4 * num_parameters


def _count(facts: list[NodeFacts]) -> str:
    nodes = "node" if len(facts) == 2 else "nodes"
    return "this process" + (f" and {len(facts) - 1} {nodes}" if len(facts) > 1 else "")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
