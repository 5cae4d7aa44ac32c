"""A service in a thread of the test, over a backend that the test controls, and a plain client."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from qa_lib.config import ServeSettings
from qa_lib.serving.service.app import Service
from qa_lib.serving.service.metrics import Metrics
from qa_lib.serving.service.protocol import Batch, Question, Reply

JSON = {"Content-Type": "application/json"}
ASKED = {"question": "Who?", "context": "Ann did."}


class Echo:
    """A backend that answers with the question itself; a test may say otherwise."""

    def __init__(self, *models: str) -> None:
        self.models = models or ("mine",)
        self.is_there = True

    async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
        found = [
            {"answer": each.question, "score": 1.0, "start": 0, "end": 1} for each in questions
        ]
        return [Reply([each], 0.0, Batch(1, 8)) for each in found]

    async def is_ready(self) -> bool:
        await asyncio.sleep(0.01)  # as where replicas are asked
        return self.is_there


@contextmanager
def serving(
    backend: Any, token: str | None = None, **settings: Any
) -> Iterator[tuple[int, Service]]:
    """Yield the port of a service, and the service."""
    service = Service(backend, Metrics(backend.models), ServeSettings(**settings), token)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        server = uvicorn.Server(uvicorn.Config(service, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1], service
        finally:
            server.should_exit = True
            thread.join()


def call(
    port: int, path: str = "/answer", body: Any = None, method: str = "POST", **headers: str
) -> tuple[int, Any]:
    """Send a request; return status and content of the response, parsed where it is JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, content if method == "POST" else None, JSON | named)
        response = connection.getresponse()
        text = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else text.decode()
    finally:
        connection.close()
