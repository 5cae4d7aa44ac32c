"""The service on Ray Serve: one deployment that speaks HTTP, one per model, with replicas.

application(settings)       # what `serve.run` takes
build({"model.name": ...})  # the same from flags, for a config file of Ray Serve (RayService)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from qa_lib import config
from qa_lib.config import Settings
from qa_lib.errors import ConfigError, UserError
from qa_lib.serving.service.app import Service
from qa_lib.serving.service.guard import read_token
from qa_lib.serving.service.loading import check, load_batcher, named_models
from qa_lib.serving.service.metrics import Metrics
from qa_lib.serving.service.placing import Place
from qa_lib.serving.service.protocol import Question, Reply, ServiceError

_ONGOING = 256  # requests that a replica has at once: its batches are made of them
_PROBES = 64  # requests to the HTTP deployment beside those that may wait
_MOST_TRIES = 3  # of a request, which may kill replicas; and of a replica's start
_PING_S = 2.0
_FLUSH_S = 0.5


@serve.deployment
class Model:
    """A replica of a model: it answers in batches."""

    def __init__(self, settings: Settings, path: str, place: Place) -> None:
        """Load the model."""
        self._batcher = load_batcher(
            settings, path, device=place.device, num_threads=place.num_threads
        )

    async def answer(self, questions: list[Question]) -> list[Reply]:
        """Answer the questions of a request.

        Raises:
            UserError: One cannot be answered.
        """
        return await self._batcher.ask(questions)

    async def ping(self) -> None:
        """Return, if the replica is there."""


class _Replicas:
    """The backend of Ray Serve; what a lost replica had not answered goes to another one."""

    def __init__(
        self, handles: dict[str, DeploymentHandle], count_retry: Callable[[str], None]
    ) -> None:
        self._handles = handles
        self._count_retry = count_retry

    @property
    def models(self) -> Sequence[str]:
        return list(self._handles)

    async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
        for _ in range(_MOST_TRIES):
            response = self._handles[model].answer.remote(list(questions))
            try:
                return await response
            except asyncio.CancelledError:  # given up: its questions leave the queue
                response.cancel()
                raise
            except RayActorError:
                self._count_retry(model)
            except RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from None
                raise
        raise ServiceError(
            503, f"{_MOST_TRIES} replicas were lost with this request.", "See the service's log."
        )

    async def is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_PING_S):
                for handle in self._handles.values():
                    await handle.ping.remote()
        except (TimeoutError, RayActorError):
            return False
        return True


@serve.deployment
@serve.ingress()
class Http:
    """The HTTP interface; it computes nothing, so one is enough for many models."""

    def __init__(self, settings: Settings, handles: dict[str, DeploymentHandle]) -> None:
        """Read the token, and make the application."""
        path = settings.serve.token_file
        metrics = Metrics(list(handles))
        backend = _Replicas(handles, lambda model: metrics.retries.labels(model).inc())
        self._service = Service(
            backend, metrics, settings.serve, None if path is None else read_token(path)
        )

    def __serve_build_asgi_app__(self) -> Any:
        """Return what Serve's replica calls."""
        return self._service

    async def drain(self, seconds: float) -> int:
        """Refuse further questions; return how many are unanswered after so many seconds."""
        left = await self._service.drain(seconds)
        await asyncio.sleep(_FLUSH_S)  # Serve's proxy does not say when the last answers are out
        return left


def application(settings: Settings) -> Application:
    """Return the service, to be run on the connected cluster.

    Raises:
        ConfigError, ModelError, ResourceError: As of `loading.check` and `placing.Place.of`.
    """
    named = named_models(settings)
    place = Place.of(settings, len(named))
    service = settings.serve
    scale: dict[str, Any] = {"num_replicas": service.replicas}
    if service.max_replicas is not None:
        scale = {
            "autoscaling_config": {
                "min_replicas": service.replicas,
                "max_replicas": service.max_replicas,
                "target_ongoing_requests": service.target_requests,
            }
        }
    handles = {
        name: Model.options(  # type: ignore[attr-defined]
            name=name,
            max_ongoing_requests=_ONGOING,
            max_constructor_retry_count=_MOST_TRIES,
            ray_actor_options={"num_cpus": place.num_cpus, "num_gpus": place.num_gpus},
            graceful_shutdown_timeout_s=service.drain_s,
            **scale,
        ).bind(settings, path, place)
        for name, path in named.items()
    }
    http = Http.options(  # type: ignore[attr-defined]
        max_ongoing_requests=service.max_waiting + _PROBES,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=service.drain_s,
    )
    return http.bind(settings, handles)


def build(flags: dict[str, Any]) -> Application:
    """Return the service of flags such as `{"model.name": "gs://..."}`.

    A flag of several values takes a list; one that is None is left out.

    Raises:
        ConfigError: The flags are wrong, or no token is set: a cluster's service is reachable.
        ModelError, ResourceError: As of `application`.
    """
    words = []
    for name, value in flags.items():
        if isinstance(value, (list, tuple)):
            words += [f"--{name}", *map(str, value)]
        elif value is not None:
            words.append(f"--{name}={value}")
    settings = config.parse("serve", words)
    if settings.serve.token_file is None:
        raise ConfigError(
            "A service on a cluster can be reached from other machines: it needs a token.",
            "Give serve.token-file, the path of a secret that every pod mounts.",
        )
    check(settings)
    return application(settings)
