"""Send a job to a cluster: check it here, print what it needs, submit it, follow it to its end.

    RAY_ADDRESS=http://127.0.0.1:8265 python -m cluster.submit train --recipe gcp \
        --storage gs://bucket/runs --data.source gs://bucket/squad/data
    make submit JOB=train RECIPE=gcp ARGS="--storage gs://bucket/runs"      # the same
    make submit JOB=train RECIPE=gcp ARGS="..." NO_WAIT=1                   # prints the id and ends

The exit code is the job's own. Only code is sent (cluster/runtime_env.yaml); the environment comes
from the image. RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH name the token of a cluster that needs
one.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cluster import tokens
from jobs import _runner
from qa_lib.config import Settings
from qa_lib.errors import ConfigError, ResourceError
from qa_lib.runs import storage

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # where `ray dashboard` ends its tunnel

_POLL_S = 0.5
_SENT = ("cluster", "jobs", "qa_lib")  # folders, by .rayignore; and recipes beside them
_WITHOUT_STORAGE = ("verify", "push")
_MOST_FAILURES = 60  # of polls in a row
_SECONDS_PER_HOUR = 3600


def main() -> None:
    """Submit the job of the command line; exit with its code."""
    _runner.quiet_libraries()
    sys.exit(_runner.exit_code(lambda: submit(sys.argv[1:])))


def submit(argv: list[str]) -> int:
    """Check, submit and follow a job.

    Args:
        argv: Name of the job, then its flags.

    Returns:
        The job's exit code; with NO_WAIT set, 0 as soon as it is submitted.

    Raises:
        ConfigError: A setting is wrong, or a path would not be found on the cluster.
        ResourceError: The cluster does not answer, or refuses the request.
    """
    jobs = sorted(path.stem for path in (REPOSITORY / "jobs").glob("[a-z]*.py"))
    if not argv or argv[0] not in jobs:
        raise ConfigError(
            f"{argv[0] if argv else 'nothing'} is not a job.", f"Submit one of {', '.join(jobs)}."
        )
    job, flags = argv[0], argv[1:]
    settings = importlib.import_module(f"jobs.{job}").JOB.parse(flags)
    problems = list(local_paths(settings, job))
    if problems:
        raise ConfigError(
            "\n".join(problems),
            "The working directory of a job is deleted when it ends: name a bucket (gs://...), a "
            "hub id, or an absolute path that every node has.",
        )
    if not os.environ.get("SKIP_DRY_RUN"):
        plan = dry_run(job, flags)
        print(requirements(settings, plan), flush=True)
    client = connect()
    identity = client.submit_job(
        entrypoint=shlex.join(["python", "-m", f"jobs.{job}", *flags]),
        runtime_env=runtime_env(),
        metadata={"job": job, "recipe": settings.recipe, "run": settings.run_name or ""},
    )
    print(f"submitted as {identity}; `make stop ID={identity}` stops it")
    print(whereabouts(client.get_address(), identity, settings.run_name), flush=True)
    if os.environ.get("NO_WAIT"):
        return 0
    return follow(client, identity)


def whereabouts(dashboard: str, identity: str, run: str | None) -> str:
    """Return where a job can be watched: its page, its log, its metrics."""
    return (
        f"page: {dashboard}/#/jobs/{identity}\n"
        f"log: `make logs {f'RUN={run}' if run else f'ID={identity}'}`\n"
        f"metrics: {dashboard}/#/metrics with Prometheus and Grafana, which shows "
        f"cluster/grafana.json; there they carry run={run or 'the name of the run folder'}"
    )


def local_paths(settings: Settings, job: str) -> Iterator[str]:
    """Yield a message for every path that would be lost, or not be found, on a cluster."""
    named: dict[str, str | None] = {
        "--storage": settings.storage,
        "--model.name": settings.model.name,
        "--data.source": settings.data.source,
        "--data.eval-source": settings.data.eval_source,
        "--train.teacher": settings.train.teacher,
        "--train.teacher-only-source": settings.train.teacher_only_source,
        "--evaluate.semantic-model": settings.evaluate.semantic_model,
        "--adjust.families": settings.adjust.families,
        "--search.parent": settings.search.parent,
        "--predictions": settings.predictions,
        "--adjust.plan": settings.adjust.plan,
        "--answer.input": settings.answer.input,
        "--answer.output": settings.answer.output,
        "--demo.beside": settings.demo.beside,
        "--serve.token-file": settings.serve.token_file,
    }
    compared = [("--compare.runs", name) for name in settings.compare.runs or ()]
    compared += [("--serve.beside", one.rpartition("=")[2]) for one in settings.serve.beside or ()]
    importance, context = settings.adjust.importance, settings.answer.context or ""
    if context.startswith("@") and not context.startswith("@@") and _is_relative(context[1:]):
        yield f"--answer.context {context} is a file in this machine's working directory"
    if ":" in importance and _is_module_here(importance.partition(":")[0]):
        yield f"--adjust.importance {importance} is a module of this machine's working directory"
    if _stays_here(settings.recipe):
        yield f"--recipe {settings.recipe} is a file that is not sent"
    writes = {"--storage", "--answer.output"}
    for flag, value in [*named.items(), *compared]:
        if value is None or value == "embedded" or not _is_relative(value):
            continue
        writes_none = job in _WITHOUT_STORAGE or (job == "answer" and settings.answer.input is None)
        if flag == "--storage" and writes_none:
            continue
        # `a/b` is a hub id, unless there is such a folder here.
        path = REPOSITORY / value.removeprefix("file://")
        if flag in writes or value.startswith((".", "~")) or path.exists():
            yield f"{flag} {value} is a path in this machine's working directory"


def _is_relative(path: str) -> bool:
    """Whether a path is a local one below the working directory, or below a home."""
    return storage.is_local(path) and not Path(path.removeprefix("file://")).is_absolute()


def _is_module_here(name: str) -> bool:
    """Whether a module is a file or folder of the checkout that is not sent."""
    top, *_ = name.split(".")
    here = (REPOSITORY / top, REPOSITORY / f"{top}.py")
    return top not in _SENT and any(path.exists() for path in here)


def _stays_here(recipe: str) -> bool:
    """Whether a recipe is a file, and none that .rayignore and .gitignore let travel."""
    path = Path(recipe)
    if path.is_absolute() or path.suffix not in (".yaml", ".yml"):
        return False
    is_beside = len(path.parts) == 1 and path.suffix == ".yaml"
    return not (is_beside or path.parts[0] in _SENT)


def dry_run(job: str, flags: list[str]) -> dict[str, Any]:
    """Run the job's own dry-run here; return the JSON that it prints, {} where it prints none.

    Raises:
        ConfigError: The dry-run fails, as the job would.
    """
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", *flags, "--dry-run", "json"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ConfigError(
            f"the dry-run of jobs.{job} fails here:\n{done.stderr.strip()}",
            "Fix that. For what only the cluster has, --cluster.gpu T4 plans for a GPU, and "
            "SKIP_DRY_RUN=1 leaves the dry-run out.",
        )
    start = done.stdout.rfind("\n{\n")
    try:
        return json.loads(done.stdout[start:]) if start >= 0 else {}
    except ValueError:
        return {}


def requirements(settings: Settings, plan: dict[str, Any]) -> str:
    """Return what the job needs of the cluster, and what that costs by cluster/prices.yaml."""
    train, cluster = settings.train, settings.cluster
    on_gpu = cluster.gpu != "none" and train.device != "cpu"
    devices = f"{train.num_workers} {cluster.gpu} GPUs" if on_gpu else "CPUs only"
    trains = "estimated_train_seconds" in plan
    lines = [f"asks for {train.num_workers} workers, {devices}"] if trains or not plan else []
    seconds = plan.get("estimated_train_seconds")
    if seconds is None:
        return "\n".join([*lines, "no estimate of its time: the dry-run of this job has none"])
    hours = settings.seeds * seconds / _SECONDS_PER_HOUR
    each = f" for each of {settings.seeds} seeds" if settings.seeds > 1 else ""
    lines.append(
        f"training: {plan['steps']:,} steps{each}, some {hours:.2f} hours in all as estimated; "
        "start and scoring extra"
    )
    if on_gpu:
        lines.append(cost(settings, hours))
    return "\n".join(lines)


def cost(settings: Settings, hours: float) -> str:
    """Return what the settings' GPUs, their nodes and the head cost for hours, in words."""
    gpu, num_gpus = settings.cluster.gpu, settings.train.max_workers
    num_nodes = -(-num_gpus // settings.cluster.gpus_per_node)
    hourly = dollars_per_hour(gpu, num_gpus, num_nodes)
    if hourly is None:
        return f"cluster/prices.yaml has no price of a {gpu}"
    costs = {kind: hours * price for kind, price in hourly.items()}
    return (
        f"cost by cluster/prices.yaml, {num_nodes} nodes and the head: "
        f"${costs['on_demand']:.2f} on demand, ${costs['spot']:.2f} on spot machines"
    )


def dollars_per_hour(gpu: str, num_gpus: int, num_nodes: int) -> dict[str, float] | None:
    """Return what a head, worker nodes and their GPUs cost per hour.

    Returns:
        US dollars `on_demand` and on `spot` machines; None where prices.yaml lacks the GPU.
    """
    prices = yaml.safe_load((HERE / "prices.yaml").read_text(encoding="utf-8"))
    if gpu not in prices["gpu"]:
        return None
    return {
        kind: prices["head"] + num_nodes * prices["worker"][kind] + num_gpus * price
        for kind, price in prices["gpu"][gpu].items()
    }


def runtime_env() -> dict[str, Any]:
    """Return what is sent with a job: the working directory, as an absolute path."""
    env: dict[str, Any] = yaml.safe_load((HERE / "runtime_env.yaml").read_text(encoding="utf-8"))
    return env | {"working_dir": str(REPOSITORY / env["working_dir"])}


def connect() -> JobSubmissionClient:
    """Return a client of the cluster at RAY_ADDRESS.

    Raises:
        ConfigError: Others can read the cluster's token.
        ResourceError: Nothing answers there, or it refuses the request.
    """
    from ray.job_submission import JobSubmissionClient

    from qa_lib import doctor

    address = os.environ.get("RAY_ADDRESS") or DEFAULT_ADDRESS
    if not address.startswith(("http://", "https://")):
        raise ResourceError(
            f"RAY_ADDRESS {address} is not the address of a dashboard.",
            f"Jobs are sent to http://HOST:PORT, for example {DEFAULT_ADDRESS}.",
        )
    token = tokens.path_of_token()
    if os.environ.get("RAY_AUTH_MODE") == "token" and token.exists():
        tokens.check(token)
    logging.getLogger("ray").setLevel(logging.WARNING)  # Ray lists every file that it ignores
    for finding in doctor.check_address(address):
        if finding.verdict == "fault":
            raise ResourceError(finding.message + ".", finding.remedy)
    return JobSubmissionClient(address)


def follow(client: JobSubmissionClient, identity: str) -> int:
    """Print a job's log as it grows, until the job ends; return its exit code.

    Ctrl-C leaves the job running and prints how to stop it.

    Raises:
        ResourceError: The cluster has not answered for half a minute.
    """
    printed = failures = 0
    try:
        while True:
            try:
                info = client.get_job_info(identity)
                log = client.get_job_logs(identity)
            except (OSError, RuntimeError) as error:  # a tunnel that is made anew, a busy head
                failures += 1
                if "status code 4" in str(error):  # 401, 403, 404: no time mends them
                    remedy = "Check RAY_ADDRESS and the token"
                    raise _lost("refuses", error, identity, remedy) from None
                if failures == _MOST_FAILURES:
                    remedy = "Open the tunnel again"
                    raise _lost("no longer answers", error, identity, remedy) from None
                time.sleep(_POLL_S)
                continue
            failures = 0
            sys.stdout.write(log[printed:])
            sys.stdout.flush()
            printed = len(log)
            if info.status.is_terminal():
                break
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        print(f"\n{identity} keeps running; `make logs ID={identity}`, `make stop ID={identity}`")
        return _runner.EXIT_INTERRUPTED
    if info.driver_exit_code is not None:
        code = int(info.driver_exit_code)
    else:
        code = 0 if info.status == "SUCCEEDED" else _runner.EXIT_BUG
    if code:
        print(f"{identity} ended with exit code {code}", file=sys.stderr)
    return code


def _lost(what: str, error: Exception, identity: str, remedy: str) -> ResourceError:
    """Return what to raise where a job can be followed no longer."""
    return ResourceError(
        f"The cluster {what}: {storage.first_line(error)}. {identity} may keep running, and cost"
        " money.",
        f"{remedy}; `make logs ID={identity}` follows the job.",
    )


if __name__ == "__main__":
    main()
