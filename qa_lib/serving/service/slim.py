"""The same service in one process with an exported model: no torch, no transformers, no Ray.

    python -m qa_lib.serving.service.slim runs/exported --serve.backend int8
    python -m qa_lib.serving.service.slim runs/exported --serve.host 0.0.0.0 --serve.token-file FILE

The flags are those of jobs.serve; replicas are more such processes, and --serve.cpus-per-replica
gives the threads of each model. SIGTERM and Ctrl-C drain.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from qa_lib import config
from qa_lib.config import Settings, credentials
from qa_lib.errors import EXIT_USER_ERROR, ConfigError, UserError
from qa_lib.runs import stop_signals
from qa_lib.serving.service.app import Service
from qa_lib.serving.service.batching import Batcher
from qa_lib.serving.service.guard import read_token
from qa_lib.serving.service.loading import check, load_batcher, named_models
from qa_lib.serving.service.metrics import Metrics
from qa_lib.serving.service.protocol import Question, Reply
from qa_lib.serving.service.running import open_port, where


class LocalModels:
    """A backend in this process: each model has a queue of its own."""

    def __init__(self, batchers: dict[str, Batcher]) -> None:
        """Keep the models by name, the default one first."""
        self._batchers = batchers

    @property
    def models(self) -> Sequence[str]:
        """Names of the models."""
        return list(self._batchers)

    async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
        """Answer questions.

        Raises:
            UserError: One cannot be answered.
        """
        return await self._batchers[model].ask(questions)

    async def is_ready(self) -> bool:
        """Return True: the models were loaded before the port was opened."""
        return True


def make_service(settings: Settings) -> Service:
    """Load the models of the settings, and return the service over them.

    Raises:
        ConfigError: The token file cannot be used.
        ModelError: A model was not exported.
    """
    path = settings.serve.token_file
    token = None if path is None else read_token(path)
    named, cpus = named_models(settings), settings.serve.cpus_per_replica
    threads = None if cpus is None else max(1, int(cpus))
    batchers = {
        name: load_batcher(settings, path, num_threads=threads) for name, path in named.items()
    }
    return Service(LocalModels(batchers), Metrics(list(batchers)), settings.serve, token)


def parse(argv: Sequence[str]) -> Settings:
    """Return the settings of a command line; the backend is onnx where nothing names one.

    Raises:
        ConfigError: With everything that is wrong in it; or the backend is torch.
    """
    settings = config.parse("serve", argv, positional="--model.name")
    serve = settings.serve
    if "backend" not in serve.model_fields_set:
        return settings.model_copy(update={"serve": serve.model_copy(update={"backend": "onnx"})})
    if serve.backend == "torch":
        raise ConfigError(
            "The slim service has no torch, which serve.backend asks for.",
            "Give --serve.backend onnx or int8, or serve with jobs.serve.",
        )
    return settings


def preview(settings: Settings) -> list[str]:
    """Return a line about each model that would be served.

    Raises:
        ConfigError, ModelError: As of `loading.check`.
    """
    check(settings)
    return [
        f"would serve {path} as {name}, backend {settings.serve.backend}"
        for name, path in named_models(settings).items()
    ]


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C, and return the exit code."""
    import uvicorn

    if {"--help", "-h"} & {*argv}:
        print(__doc__)
        return 0
    try:
        settings = parse(argv)
        if settings.dry_run:
            print("\n".join(preview(settings)))
            return 0
        listener = open_port(settings)
        service = make_service(settings)
    except UserError as error:
        print(credentials.redact(f"error: {error}"), file=sys.stderr)
        return EXIT_USER_ERROR
    server = uvicorn.Server(
        uvicorn.Config(
            service,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.serve.drain_s)),
        )
    )
    stop_signals.interrupt_on_stop()
    print(where(settings, listener.getsockname()[1]), flush=True)
    try:
        asyncio.run(
            server.serve(sockets=[listener])
        )  # it drains on a signal, and then raises it again
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
