"""Starting Ray on this machine, or connecting to a cluster."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import sys
import threading
from typing import Any, NoReturn

from qa_lib.errors import ConfigError, ResourceError
from qa_lib.machines.devices import num_local_cpus
from qa_lib.runs import stop_signals
from qa_lib.runs.storage import first_line

_MIN_FREE_BYTES = 64 * 2**20  # of Ray's session folder: sockets, logs, a store's beginning
_ACTORS_OF_A_JOB = 8  # the controller of Ray Train, the monitor, the recorders of Ray Data ...

LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Environment variable that with 0 lets every process of Ray listen on 127.0.0.1 alone.

Ray does so by itself on macOS and Windows; on Linux it listens on all interfaces, unguarded.
"""


class _EarlyStart(threading.Thread):
    """A start of a local Ray beside what the command does meanwhile.

    The thread lives as long as the process: when it ends, Linux ends what it has started.
    """

    def __init__(self) -> None:
        super().__init__(name="start of Ray", daemon=True)
        self._done = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Start Ray, and stay."""
        try:
            _start(None)
        except BaseException as error:
            self._error = error
        self._done.set()
        threading.Event().wait()

    def wait(self) -> BaseException | None:
        """Wait until Ray has started, and return why it has not."""
        self._done.wait()
        return self._error


_early: _EarlyStart | None = None


def begin_ray() -> None:
    """Begin to start the Ray of this machine; `start_ray` waits for it and raises its errors.

    Ray's processes take three seconds, in which this one can import torch and read the data. End
    the process with `end_process`. Where RAY_ADDRESS names a cluster, or Ray is there, nothing is
    begun, nor where processes outlive what started them: only Linux ends them.
    """
    global _early
    if _early or _is_initialized() or os.environ.get("RAY_ADDRESS") or sys.platform != "linux":
        return
    import ray  # noqa: F401  # in this thread: another may not find it half imported

    _early = _EarlyStart()
    _early.start()


def end_process(code: int) -> NoReturn:
    """End the process; without waiting for a Ray that has begun to start and that nobody needs."""
    if _early is None:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_initialized() -> bool:
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def start_ray(num_cpus: int | None = None) -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine alone.

    A local start never joins a Ray that is already running: the remains of an unclean stop would be
    mistaken for a cluster.

    Args:
        num_cpus: Logical CPUs of a local Ray; None counts the cores.

    Raises:
        ConfigError: RAY_ADDRESS is the address of a dashboard.
        ResourceError: No cluster answers there, or Ray cannot start here.
    """
    global _early
    if _early is not None:
        early, _early = _early, None
        if (error := early.wait()) is not None:
            raise error
    if not _is_initialized():
        _start(num_cpus)
    quiet_ray_data()


def _start(num_cpus: int | None) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"RAY_ADDRESS {address} accepts jobs; this process cannot join it.",
            'Use `make submit JOB=... ARGS="..."`, or unset RAY_ADDRESS to run on this machine.',
        )
    if not address:
        _check_room()
    _set_environment(is_local=not address)
    import ray  # reads the environment
    from ray._private import ray_constants

    options = _joining() if address else _starting(num_cpus or num_local_cpus())
    if not address:
        # Where Ray was imported earlier, it has not seen the environment.
        ray_constants.ENABLE_RAY_CLUSTER = os.environ[LOOPBACK_ONLY] != "0"
        _start_less()
    try:
        # A stop signal to the command's process group is for this process only: it stops the
        # workers itself.
        with stop_signals.held_back(inherited=not address):
            ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:  # a ConnectionError is an OSError
        if address:
            problem = f"Ray cannot be joined at RAY_ADDRESS {address}"
            remedy = "Start the cluster, correct RAY_ADDRESS, or unset it to run on this machine."
        else:
            problem = "Ray does not start on this machine"
            remedy = "Let RAY_TMPDIR or TMPDIR name a folder that this user may write, with room."
        raise ResourceError(f"{problem}: {first_line(error)}", remedy) from None
    if address:
        _record_datasets_here()
    else:
        _end_at_once()


# What workers print goes to Ray's session folder; errors come back as exceptions.
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


def _joining() -> dict[str, Any]:
    """Return the options of `ray.init` for a cluster, whose workers get variables from here."""
    worker_env = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("HF_", "DO_NOT_TRACK", "TOKENIZERS_", "DS_ACCELERATOR", "MALLOC_"))
        and not name.endswith("TOKEN")
    }
    return _QUIET | {"runtime_env": {"env_vars": worker_env}}


def _starting(num_cpus: int) -> dict[str, Any]:
    """Return the options of `ray.init` for a Ray of this machine alone.

    Its workers inherit this process's environment. With a runtime_env, Ray would throw away the
    workers that it has started in advance.
    """
    return _QUIET | {"address": "local", "num_cpus": num_cpus, "include_dashboard": False}


def _check_room() -> None:
    """Refuse a full disk before Ray waits half a minute for a file that it cannot write."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # Ray may make the folder; what it says is told
    if free < _MIN_FREE_BYTES:
        raise ResourceError(
            f"Ray keeps its files in {folder}, which has {free / 2**20:.1f} MiB free; it needs "
            f"{_MIN_FREE_BYTES / 2**20:.0f}.",
            "Free some, or let RAY_TMPDIR name a folder on a larger disk.",
        )


def _start_less() -> None:
    """Change defaults of Ray's that `ray.init` has no arguments for.

    The agent's fixed port is taken where another Ray runs here, and the start waits 3.4 s for it in
    vain. What workers print goes to nobody: no process collects it.
    """
    from ray._private.parameter import RayParams

    init: Any = RayParams.__init__
    names = list(inspect.signature(init).parameters)[-len(init.__defaults__) :]
    defaults = dict(zip(names, init.__defaults__, strict=True))
    ours = {"dashboard_agent_listen_port": 0, "include_log_monitor": False}
    assert defaults.keys() >= ours.keys()
    init.__defaults__ = tuple((defaults | ours).values())


def _record_datasets_here() -> None:
    """Have the actor in which Ray Data records datasets start on this node.

    It starts on the node of the first process that has a dataset and outlives the job. A rank would
    be the first, and its machine would never be idle again: an autoscaler would keep it for ever.
    """
    from ray.data._internal.stats import get_or_create_stats_actor

    get_or_create_stats_actor()


def _end_at_once() -> None:
    """Spare Ray's shutdown the second that it waits for each of its processes to heed SIGTERM.

    They were started with it blocked; a killed raylet takes its workers along.
    """
    from ray._private import worker

    node: Any = worker._global_node
    kill = node.kill_all_processes

    def kill_at_once(check_alive: bool = True, allow_graceful: bool = False, **how: Any) -> None:
        kill(check_alive=check_alive, allow_graceful=False, **how)

    node.kill_all_processes = kill_at_once


def keeping_workers(num_cpus: float) -> dict[str, str]:
    """Return the environment of a raylet that keeps idle workers.

    It ends a worker that is idle for a second while it has more processes than CPUs. The actors
    that a job always has are more than a small machine's CPUs: each task would start a process,
    which imports for seconds.
    """
    return {"RAY_num_workers_soft_limit": str(int(num_cpus) + _ACTORS_OF_A_JOB)}


def _set_environment(*, is_local: bool) -> None:
    """Set what Ray and glibc read when a process starts, unless the user has set it."""
    environment = {
        # Ray Train's controller polls its workers. The default of 2 s adds as much to every start
        # and end; polling ten times a second takes 5 % of two cores during training.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Ray's default for workers is a low priority; training is what the user waits for.
        "RAY_worker_niceness": "0",
        # glibc returns memory after every batch and faults it in again: 10 % of a step on a CPU. No
        # mapping at all, because the largest threshold, 32 MiB, is below the gradient of a
        # vocabulary: 12,000 page faults a step. Several arenas, because oneDNN's threads all
        # allocate: with a single one they wait for each other 40,000 times a second.
        "MALLOC_ARENA_MAX": str(2 * num_local_cpus()),
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**33),
        **keeping_workers(num_local_cpus()),
    }
    if is_local:
        environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # an actor for clouds
        environment[LOOPBACK_ONLY] = "0"
    for name, value in environment.items():
        os.environ.setdefault(name, value)


def quiet_ray_data() -> None:
    """Turn off Ray Data's progress bars and start-up reports in this process."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
