"""What would fail, before it does: machine, cluster, versions, storage, model and data.

    for finding in doctor.examine(settings):
        print(finding)

A probe runs on every node that Ray has, and in the driver; what the probes bring back is judged
apart from them, by pure functions.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from qa_lib import model as models
from qa_lib import resources, squad, storage
from qa_lib.config import Settings
from qa_lib.errors import DataError, ResourceError, UserError
from qa_lib.run import versions

CONTACT_S = 3.0
"""How long an address is given to answer, in seconds."""

PROBE_S = 8.0
"""How long all nodes together are given, in seconds; what has not answered then is a finding."""

Verdict = Literal["good", "note", "fault"]

_NUM_KEPT_CHECKPOINTS = 3  # the newest good one, the one before, and the one being written
_LEAST_FREE_BYTES = 2 * 2**30
_TOKEN_REMEDY = (
    "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token."
)


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        what: Name of the check.
        verdict: good; note: it works, but see; fault: the job would fail.
        message: What was found.
        remedy: What to do about it; empty where it is good.
    """

    what: str
    verdict: Verdict
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return a line, and the remedy on a line of its own."""
        mark = {"good": "ok   ", "note": "note ", "fault": "FAULT"}[self.verdict]
        line = f"{mark} {self.what}: {self.message}"
        return f"{line}\n      {self.remedy}" if self.remedy else line


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


def examine(settings: Settings, *, thoroughly: bool = True) -> Iterator[Finding]:
    """Yield what was found, as it is found; where Ray does not answer, nothing after that.

    Args:
        settings: Of the job that is to run.
        thoroughly: Also import DeepSpeed, and open model and data here; a job does so itself.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        reached = list(contact(address))
        yield from reached
        if any(finding.verdict == "fault" for finding in reached):
            return
        if _is_http(address):
            yield Finding(
                "nodes",
                "note",
                f"{address} takes jobs only; its nodes were not looked at",
                "`make submit JOB=doctor` looks from inside.",
            )
        else:
            resources.start_ray()
    yield fits(settings)
    token = secrets.token_hex(8)
    joined = bool(address) and not _is_http(address)
    waiting = _start_probes(settings, token) if joined else {}
    facts = [probe(settings, "this process", token, thoroughly=thoroughly)]
    if joined:
        nodes, silent = _collect(waiting)
        facts += nodes
        yield from silent
        yield shared_storage(settings, token, [node.name for node in nodes])
    _remove_marks(settings, token)
    yield from judge(settings, facts)


def require(settings: Settings) -> None:
    """Refuse to start a job that would fail for what is around it; jobs call it first.

    On this machine alone a job finds out by itself in time; only its disk is looked at.

    Raises:
        ResourceError: With every fault and its remedy.
    """
    if settings.skip_doctor:
        return
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    findings = examine(settings, thoroughly=False) if on_cluster else _judge_storage(settings)
    faults = [finding for finding in findings if finding.verdict == "fault"]
    if faults:
        raise ResourceError(
            "\n".join(f"{fault.what}: {fault.message}" for fault in faults),
            "\n  ".join(
                [*(fault.remedy for fault in faults), "--skip-doctor starts all the same."]
            ),
        )


# -- reaching Ray


def contact(address: str) -> Iterator[Finding]:
    """Say whether Ray answers at an address, and lets this process in."""
    if _is_http(address):
        yield _contact_dashboard(address)
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        yield Finding("ray", "good", "the cluster that this process is part of")
        return
    if not host or not port.isdigit():
        yield Finding(
            "ray",
            "fault",
            f"RAY_ADDRESS {address} is no address",
            "Set it to HOST:PORT or http://.",
        )
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONTACT_S).close()
    except OSError as error:
        yield Finding(
            "ray",
            "fault",
            f"nothing answers at RAY_ADDRESS {address}: {storage.first_line(error)}",
            "Start the cluster (`make cluster-up`), correct RAY_ADDRESS, or unset it to run here.",
        )
        return
    yield _authorised(address)


def _contact_dashboard(address: str) -> Finding:
    import urllib.error
    import urllib.request

    from ray._private.authentication.http_token_authentication import (
        get_auth_headers_if_auth_enabled,
    )
    from ray.exceptions import AuthenticationError

    try:
        headers = get_auth_headers_if_auth_enabled({})
        request = urllib.request.Request(f"{address.rstrip('/')}/api/version", headers=headers)
        with urllib.request.urlopen(request, timeout=CONTACT_S):
            return Finding("ray", "good", f"{address} answers and lets us in")
    except AuthenticationError as error:
        return Finding("ray", "fault", f"no token: {storage.first_line(error)}", _TOKEN_REMEDY)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return _refused(address)
        return Finding("ray", "fault", f"{address} answers {error}", "Is it Ray's dashboard?")
    except (OSError, ValueError) as error:
        return Finding(
            "ray",
            "fault",
            f"nothing answers at RAY_ADDRESS {address}: {storage.first_line(error)}",
            "Is the tunnel open (`ray dashboard cluster/gcp-t4.yaml`), the cluster up?",
        )


def _authorised(address: str) -> Finding:
    """Ask the cluster for its state in the way that joining it does."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    if ray.is_initialized():
        return Finding("ray", "good", f"connected to {address}")
    try:
        GcsClient(address=address).internal_kv_exists(b"qa-suite", namespace=None)
    except Exception as error:  # Ray's own kinds differ between its versions
        if "uth" in str(error) or "token" in str(error):
            return _refused(address)
        return Finding(
            "ray",
            "fault",
            f"{address} is no cluster of this Ray: {storage.first_line(error)}",
            f"It must run Ray {versions().get('ray')}, as this process does.",
        )
    return Finding("ray", "good", f"{address} answers and lets us in")


def _refused(address: str) -> Finding:
    return Finding(
        "ray",
        "fault",
        f"{address} refuses this process: no token, or a wrong one",
        _TOKEN_REMEDY,
    )


def _is_http(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


# -- looking


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
        checks["data"] = lambda: squad.splits(settings.data)
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
    import deepspeed  # noqa: F401


def _start_probes(settings: Settings, token: str) -> dict[Any, str]:
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


def _collect(waiting: dict[Any, str]) -> tuple[list[NodeFacts], list[Finding]]:
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


def _remove_marks(settings: Settings, token: str) -> None:
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


# -- judging


def fits(settings: Settings) -> Finding:
    """Compare what the job asks for with what there is, or can be."""
    try:
        found = resources.allocate(settings.train, settings.cluster)
    except UserError as error:
        return Finding("resources", "fault", error.problem, error.remedy)
    asked = f"{found.num_workers} workers on {found.device}"
    return Finding("resources", "good", f"{asked}, {found.cpus_per_worker:g} CPUs each")


def judge(settings: Settings, facts: list[NodeFacts]) -> Iterator[Finding]:
    """Yield the findings on what the probes brought back; the first is the driver's own."""
    yield from _judge_versions(facts)
    yield from _judge_gpus(settings, facts)
    yield from _judge_disks(facts)
    yield from _judge_storage(settings)
    for what, remedy in (
        ("DeepSpeed", "Install the locked environment there: `make setup`, cluster/Dockerfile."),
        ("storage", "Give --storage a folder or bucket that every node may write."),
        ("model", "Give --model.name what every node can read: a hub id, a bucket, `embedded`."),
        ("data", "Give --data.source what every node can read: a hub id or a bucket."),
    ):
        failed = [node for node in facts if what in node.errors]
        for node in failed:
            problem, own = node.errors[what]
            yield Finding(what, "fault", f"on {node.name}: {problem}", own or remedy)
        if not failed and what in facts[0].checked:
            yield Finding(what, "good", "works from " + _count(facts))


def _judge_versions(facts: list[NodeFacts]) -> Iterator[Finding]:
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
    major = sys.version_info[:2]
    if major not in ((3, 11), (3, 12)):
        yield Finding(
            "versions", "fault", f"Python {platform.python_version()}", "Use Python 3.11 or 3.12."
        )
    if len({tuple(sorted(node.versions.items())) for node in facts}) == 1:
        yield Finding("versions", "good", f"the same on {_count(facts)}")


def _comparable(library: str, version: str | None) -> str:
    """Drop what may differ: Python's patch level, and the build (`+cpu`) of a wheel."""
    plain = (version or "").partition("+")[0]
    return plain.rpartition(".")[0] if library == "python" else plain


def _judge_gpus(settings: Settings, facts: list[NodeFacts]) -> Iterator[Finding]:
    wish = settings.train.precision
    for node in facts:
        for name, capability in node.gpus:
            if wish == "bf16" and capability < (8, 0):
                yield Finding(
                    "precision",
                    "fault",
                    f"{name} on {node.name} has compute capability {_dotted(capability)}; bf16 "
                    "begins at 8.0",
                    "Use --train.precision fp16 or auto.",
                )
        built, driver = node.torch_cuda, node.driver_cuda
        if driver is not None and built is not None and driver[0] < built[0]:
            yield Finding(
                "driver",
                "fault",
                f"{node.name}: the NVIDIA driver runs CUDA {_dotted(driver)} at most, torch was "
                f"built for {_dotted(built)}",
                "Update the driver, or install a torch built for that CUDA.",
            )
        elif driver is not None and built is None:
            yield Finding(
                "driver",
                "fault",
                f"{node.name} has a GPU, and a torch built for CPUs",
                "Install torch from PyPI, without PIP_EXTRA_INDEX_URL.",
            )
    if not any(node.gpus for node in facts) and settings.train.device != "cuda":
        yield Finding("precision", "good", f"{wish} on CPUs")


def _judge_disks(facts: list[NodeFacts]) -> Iterator[Finding]:
    for node in facts:
        if node.free_bytes < _LEAST_FREE_BYTES:
            yield Finding(
                "disk",
                "fault",
                f"{node.name} has {node.free_bytes / 2**30:.1f} GiB free for temporary files",
                f"Free {_LEAST_FREE_BYTES / 2**30:.0f} GiB, or point TMPDIR to a larger disk.",
            )


def _judge_storage(settings: Settings) -> Iterator[Finding]:
    """Compare what is free in a local storage with what the job will keep there."""
    if not storage.is_local(settings.storage):
        return
    needed = _checkpoint_bytes(settings)
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


def _checkpoint_bytes(settings: Settings) -> int:
    """Bytes of the checkpoints that are kept, and of the model; 0 for a model unseen from here."""
    try:
        num_parameters = models.num_stored_parameters(settings.model.name)
    except (UserError, OSError):
        return 0
    train = settings.train
    states = resources.memory_per_rank(num_parameters, train, "fp32", train.num_workers)
    num_parts = train.num_workers if train.zero_stage > 0 else 1  # without ZeRO one rank writes it
    kept = states["parameters"] + num_parts * states["optimizer"]
    return _NUM_KEPT_CHECKPOINTS * kept + 4 * num_parameters


def _count(facts: list[NodeFacts]) -> str:
    nodes = "node" if len(facts) == 2 else "nodes"
    return "this process" + (f" and {len(facts) - 1} {nodes}" if len(facts) > 1 else "")


def _last_line(error: BaseException) -> str:
    """Return the end of a traceback as text, where its cause stands."""
    return str(error).strip().split("\n")[-1]


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
