"""Start the service on Ray Serve, say where it is, and end it with no request lost."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from qa_lib.config import Settings, credentials
from qa_lib.errors import ConfigError, ModelError
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs import stop_signals
from qa_lib.serving.service.guard import read_token
from qa_lib.serving.service.loading import check, named_models

_APPLICATION = "qa"
_LOOK_S = 0.5
_BACKLOG = 1024


def serve_until_stopped(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what is there, refuse the rest, and end.

    Raises:
        ConfigError, ModelError, ResourceError: As of `started`.
    """
    with started(settings) as (port, http):
        stop = threading.Event()
        with stop_signals.heeded_by(stop.set):
            print(where(settings, port), flush=True)
            while not stop.wait(_LOOK_S):
                pass
            print("stopping: what is asked already is answered", flush=True)
            left = http.drain.remote(settings.serve.drain_s).result()
        if left:
            print(
                f"note: {left} requests had no answer after {settings.serve.drain_s:g} s",
                file=sys.stderr,
            )


@contextmanager
def started(settings: Settings) -> Iterator[tuple[int, Any]]:
    """Run the service on Ray Serve for as long as the block runs.

    Yields:
        The port, and a handle of `deployments.Http`.

    Raises:
        ConfigError: The port or the token file cannot be used, or the cluster has a Serve already.
        ModelError: A model is not available, was never trained to answer, or cannot be loaded.
        ResourceError: The replicas do not fit the machine or cluster.
    """
    if settings.serve.token_file is not None:
        read_token(settings.serve.token_file)
    check(settings)
    with open_port(settings) as probe:  # Serve opens it itself, and would not say what is wrong
        port = probe.getsockname()[1]
    start_ray()
    from ray import serve

    from qa_lib.serving.service.deployments import application

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    _refuse_another(serve.status())
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": settings.serve.host, "port": port},
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        made = application(settings)
        try:
            http = serve.run(made, name=_APPLICATION, route_prefix="/")
        except RuntimeError as error:
            raise ModelError(
                f"A replica does not start: {_last_error(str(error))}",
                "Ask the model once with jobs.answer, which says more, or train or export it "
                "again.",
            ) from None
        yield port, http
    finally:
        # Ray tells of its controller's end as of a fault.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            serve.shutdown()


def _refuse_another(status: Any) -> None:
    """Refuse a cluster with a Serve of its own: its end would be the end of all applications."""
    if status.applications or status.proxies:
        names = ", ".join(status.applications) or "no application yet"
        raise ConfigError(
            f"Ray Serve runs on this cluster already ({names}).",
            "Add this one to its config file, as cluster/gke-rayservice.yaml does, or end it with "
            "`serve shutdown`.",
        )


def _last_error(text: str) -> str:
    """Return the error that a replica's traceback ends with."""
    found = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", text, re.MULTILINE)
    return credentials.redact(found[-1].rpartition(".errors.")[2] if found else text.strip())


def open_port(settings: Settings) -> socket.socket:
    """Return a listening socket at the address of the settings; port 0 is a free one.

    Raises:
        ConfigError: It is in use, or host or port are not allowed to this user.
    """
    host, port = settings.serve.host, settings.serve.port
    # asyncio spares its sockets Nagle's 40 ms only where the protocol is named.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"--serve.host {host} --serve.port {port} cannot be used: {error.strerror}.",
            "Give another port (0 takes one that is free), or an address of this machine.",
        ) from None
    return listener


def where(settings: Settings, port: int) -> str:
    """Return the lines that say where to ask what."""
    host = settings.serve.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    first, *others = named_models(settings)
    lines = [f"{url}/answer asks {first}; {url}/docs says how; Ctrl-C ends it"]
    lines += [f"{url}/models/{name}/answer asks {name}" for name in others]
    return "\n".join(lines)
