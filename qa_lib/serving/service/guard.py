"""What stands before the routes: token, host, kind and size of the body."""

from __future__ import annotations

import asyncio
import hmac
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from qa_lib.config.serving import is_loopback
from qa_lib.errors import ConfigError
from qa_lib.serving.service.protocol import ServiceError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PROBES = ("/healthz", "/readyz")
"""Paths that need no token: Kubernetes asks them, and they say no more than yes or no."""

_MIN_CHARACTERS = 16  # of a token
_DISCARDED = 2**24  # bytes of a body that is too long, so that its sender reads the refusal
_MAKE = "Write one with `openssl rand -hex 32 > token` and `chmod 600 token`."


def read_token(path: str) -> str:
    """Return the token that a file holds.

    Raises:
        ConfigError: The file cannot be read, others may write it, or it holds no token.
    """
    file = Path(path).expanduser()
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--serve.token-file {path} cannot be read: {getattr(error, 'strerror', 'no ASCII')}.",
            _MAKE,
        ) from None
    if mode & 0o022:
        raise ConfigError(
            f"--serve.token-file {path} has mode {mode:04o}: others may replace the token.",
            f"Run `chmod 600 {path}`.",
        )
    if len(token) < _MIN_CHARACTERS or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--serve.token-file {path} holds no token of {_MIN_CHARACTERS} characters or more, in "
            "one line without spaces.",
            _MAKE,
        )
    return token


def response_of(error: ServiceError) -> JSONResponse:
    """Return the response to a request that is not answered."""
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        headers |= {"Retry-After": "1", "Connection": "close"}
    return JSONResponse(error.fault.model_dump(), error.status, headers)


class Guard:
    """An ASGI application that passes on what may come in, with its body read."""

    def __init__(
        self, app: Any, *, token: str | None, max_body_bytes: int, timeout_s: float
    ) -> None:
        """Wrap an application.

        Args:
            app: It gets the requests that pass.
            token: What `Authorization: Bearer` must carry; None: any Host but this machine's own
                names is refused, so that no page of another site can ask through a browser.
            max_body_bytes: Longest body.
            timeout_s: Seconds in which the body must be there.
        """
        self._app = app
        self._token = None if token is None else token.encode()
        self._max_body_bytes = max_body_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            if scope["path"] not in PROBES:
                self._check_caller(headers)
            body = await self._read(scope, headers, receive)
        except ServiceError as error:
            await response_of(error)(scope, receive, send)
            return
        await self._answer(scope, body, receive, send)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Pass a request on for as long as its client waits."""
        answer = asyncio.ensure_future(self._app(scope, _replay(body), send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
        finally:
            gone.cancel()
            answer.cancel()
            await asyncio.wait((answer, gone))
            _ = gone.cancelled() or gone.exception()  # seen, so that asyncio does not report it

    def _check_caller(self, headers: dict[bytes, bytes]) -> None:
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
            if not is_loopback(name.strip("[]")):
                raise ServiceError(
                    403,
                    "Without a token this service answers under this machine's own address only.",
                    "Call it at http://127.0.0.1, or start it with --serve.token-file.",
                )
            return
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        is_right = hmac.compare_digest(token.strip(), self._token)
        if not (is_right and kind.lower() == b"bearer"):
            raise ServiceError(
                401,
                "The request carries no token, or a wrong one.",
                "Send the header `Authorization: Bearer TOKEN`.",
            )

    async def _read(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body of a request."""
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return b""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise ServiceError(
                415, "The body is not JSON.", "Send it with `Content-Type: application/json`."
            )
        try:
            async with asyncio.timeout(self._timeout_s):
                body, num_bytes = await self._collect(receive)
        except TimeoutError:
            raise ServiceError(
                408,
                f"The body was not there within {self._timeout_s:g} s.",
                "Send it faster, or raise --serve.timeout-s.",
            ) from None
        if num_bytes > self._max_body_bytes:
            raise ServiceError(
                413,
                f"The body has more than {self._max_body_bytes:,} bytes.",
                "Send fewer questions at once, or raise --serve.max-body-bytes.",
            )
        return body

    async def _collect(self, receive: Receive) -> tuple[bytes, int]:
        """Return a body as far as it may be long, and the bytes that came."""
        chunks: list[bytes] = []
        num_bytes, more = 0, True
        while more and num_bytes <= _DISCARDED + self._max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ServiceError(400, "The body ends early.", "Send all of it.")
            chunk = message.get("body", b"")
            num_bytes += len(chunk)
            if num_bytes <= self._max_body_bytes:
                chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks), num_bytes


async def _disconnected(receive: Receive) -> None:
    """Return when the client is gone; a body that nobody asked for is passed over."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes) -> Receive:
    """Return a `receive` that gives a body which was read already, and then nothing."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await asyncio.Event().wait()  # type: ignore[return-value]

    return again
