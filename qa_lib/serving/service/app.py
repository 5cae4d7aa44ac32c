"""The HTTP interface, the same over every backend: FastAPI routes, limits, errors, metrics."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import MutableMapping
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import Discriminator, Tag
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from qa_lib.config import ServeSettings
from qa_lib.errors import UserError
from qa_lib.serving.service.guard import PROBES, Guard, Receive, Scope, Send, response_of
from qa_lib.serving.service.metrics import Metrics
from qa_lib.serving.service.protocol import (
    Answered,
    Backend,
    Fault,
    Question,
    Reply,
    ServiceError,
)

_GONE = 499  # of a request whose client did not wait for a response, as nginx counts it
_LATER = "Ask again a little later, or elsewhere."
_STATUSES = {
    400: "The body is no JSON, or a question cannot be answered.",
    401: "No token, or a wrong one.",
    403: "Without a token: the Host is not this machine's own.",
    404: "There is no such model.",
    408: "The body did not come in time.",
    413: "The body or a context is too long, or there are too many questions.",
    415: "The body is not sent as JSON.",
    422: "The JSON is not a question or a list of questions.",
    500: "A fault of the service.",
    503: "Too many requests are waiting, or the service is stopping.",
    504: "There was no answer in time.",
}
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text} for status, text in _STATUSES.items()
}

# The tag decides which of the two an error is about.
Asked = Annotated[
    Annotated[Question, Tag("single")] | Annotated[list[Question], Tag("many")],
    Discriminator(lambda value: "many" if isinstance(value, list) else "single"),
]
Found = Answered | list[Answered]


class Service:
    """An ASGI application over a backend."""

    def __init__(
        self, backend: Backend, metrics: Metrics, settings: ServeSettings, token: str | None
    ) -> None:
        """Make the application.

        Args:
            backend: It answers.
            metrics: What `/metrics` shows.
            settings: Limits.
            token: What every request but probes must carry; None: no token.
        """
        self._backend, self._settings = backend, settings
        self._metrics = metrics
        self._num_in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False
        self._guard = Guard(
            self._routes(has_token=token is not None),
            token=token,
            max_body_bytes=settings.max_body_bytes,
            timeout_s=settings.timeout_s,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a server, and count it."""
        is_answered = False

        async def seen(message: MutableMapping[str, Any]) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self._count(scope["path"], message["status"])
            await send(message)

        try:
            await self._guard(scope, receive, seen)
        finally:
            if scope["type"] == "http" and not is_answered:
                self._count(scope["path"], _GONE)

    def _count(self, path: str, status: int) -> None:
        """Count a response to a question, under the model of its path, or "" if there is none."""
        if not path.endswith("/answer"):
            return
        name = path.removesuffix("/answer").removeprefix("/models/")
        models = self._backend.models
        model = name if name in models else "" if name else models[0]
        self._metrics.requests.labels(model, str(status)).inc()

    async def drain(self, seconds: float) -> int:
        """Refuse further questions, and wait for the answers to those that are here.

        Returns:
            Requests that are still without an answer after so many seconds.
        """
        self._is_draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            pass
        return self._num_in_progress

    async def answer(self, model: str, asked: Question | list[Question]) -> Found:
        """Answer a request.

        Raises:
            ServiceError: It is not answered.
        """
        self._admit(model)
        in_progress = self._metrics.in_progress.labels(model)
        in_progress.inc()
        self._num_in_progress += 1
        self._idle.clear()
        try:
            return await self._answer(model, asked)
        finally:
            in_progress.dec()
            self._num_in_progress -= 1
            if not self._num_in_progress:
                self._idle.set()

    def _admit(self, model: str) -> None:
        if model not in self._backend.models:
            raise ServiceError(
                404,
                f"There is no model {model!r}.",
                f"Models of this service: {', '.join(self._backend.models)}.",
            )
        if self._is_draining:
            raise ServiceError(503, "The service is stopping.", _LATER)
        if self._num_in_progress >= self._settings.max_waiting:
            raise ServiceError(503, f"{self._num_in_progress} requests are waiting.", _LATER)

    async def _answer(self, model: str, asked: Question | list[Question]) -> Found:
        questions = asked if isinstance(asked, list) else [asked]
        self._check_sizes(questions)
        started, timeout_s = time.monotonic(), self._settings.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                replies = await self._backend.answer(model, questions)
        except TimeoutError:
            raise ServiceError(
                504,
                f"There was no answer within {timeout_s:g} s.",
                "Ask for less at once, or raise --serve.timeout-s or --serve.replicas.",
            ) from None
        except UserError as error:
            raise ServiceError(400, error.problem, error.remedy) from None
        self._metrics.answered(model, replies, time.monotonic() - started)
        found = [_answered(model, reply) for reply in replies]
        return found if isinstance(asked, list) else found[0]

    def _check_sizes(self, questions: list[Question]) -> None:
        most, longest = self._settings.max_questions, self._settings.max_context
        if not questions:
            raise ServiceError(422, "There is no question in the list.", "Send one or more.")
        if len(questions) > most:
            raise ServiceError(
                413,
                f"There are {len(questions):,} questions; a request may have {most:,}.",
                "Send them in several requests, or raise --serve.max-questions.",
            )
        for number, each in enumerate(questions):
            if len(each.context) > longest:
                raise ServiceError(
                    413,
                    f"The context of question {number} has {len(each.context):,} characters; "
                    f"{longest:,} are allowed.",
                    "Send the part that matters, or raise --serve.max-context.",
                )

    def _routes(self, *, has_token: bool) -> FastAPI:
        bearer = HTTPBearer(auto_error=False, description="The token; the guard checks it.")
        app = FastAPI(
            title="qa-suite",
            description="Extractive question answering. Models: " + ", ".join(self._backend.models),
            exception_handlers={
                ServiceError: _refuse,
                RequestValidationError: _refuse_invalid,
                HTTPException: _refuse_http,
                Exception: _report_bug,
            },
        )
        default = self._backend.models[0]
        asking: dict[str, Any] = {"responses": _FAULTS}
        if has_token:
            asking["dependencies"] = [Security(bearer)]

        @app.post("/answer", summary=f"Ask {default}", **asking)
        async def ask(asked: Annotated[Asked, Body()]) -> Found:
            return await self.answer(default, asked)

        @app.post("/models/{model}/answer", summary="Ask a model by name", **asking)
        async def ask_model(model: str, asked: Annotated[Asked, Body()]) -> Found:
            return await self.answer(model, asked)

        @app.get("/models", summary="Names of the models, the default one first")
        async def models() -> list[str]:
            return list(self._backend.models)

        @app.get(PROBES[0], summary="Whether the service runs")
        async def health() -> dict[str, str]:
            return {"status": "ok"}

        @app.get(PROBES[1], summary="Whether it takes questions", responses={503: {"model": Fault}})
        async def ready() -> dict[str, str]:
            if self._is_draining:
                raise ServiceError(503, "The service is stopping.", _LATER)
            if not await self._backend.is_ready():
                raise ServiceError(503, "A model is not there.", _LATER)
            return {"status": "ready"}

        @app.get("/metrics", summary="Metrics in Prometheus' format")
        async def metrics() -> Response:
            return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

        return app


def _answered(model: str, reply: Reply) -> Answered:
    return Answered(**reply.answers[0], answers=reply.answers, model=model)


async def _refuse(request: Request, error: Any) -> JSONResponse:
    return response_of(error)


async def _refuse_invalid(request: Request, error: Any) -> JSONResponse:
    """Answer a body that is no question; what was sent is not repeated."""
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return await _refuse_http(request, HTTPException(400))
    problems = [
        f"{'.'.join(str(part) for part in each['loc'] if part not in _TAGS) or 'body'}: "
        f"{each['msg'].removeprefix('Value error, ')}"
        for each in found[:_MOST_PROBLEMS]
    ]
    return response_of(
        ServiceError(
            422,
            "; ".join(problems),
            'Send {"question": "...", "context": "..."} or a list of such objects.',
        )
    )


_TAGS = ("body", "single", "many")
_MOST_PROBLEMS = 5


async def _refuse_http(request: Request, error: Any) -> JSONResponse:
    texts = {
        400: ("The body is no JSON.", 'Send {"question": "...", "context": "..."}.'),
        404: ("There is nothing here.", "GET /docs lists what there is."),
        405: ("The path does not take this method.", "GET /docs lists the methods."),
    }
    texts_of = texts.get(error.status_code, (str(error.detail), "GET /docs says what works."))
    return response_of(ServiceError(error.status_code, *texts_of))


async def _report_bug(request: Request, error: Exception) -> JSONResponse:
    traceback.print_exception(error, file=sys.stderr)
    return response_of(ServiceError(500, "That is a bug.", "The service's log shows more."))
