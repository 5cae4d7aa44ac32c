"""The server of the demo page and its answers, on 127.0.0.1 only.

A page of another site could send requests to this port from the same browser, by address or by a
name that resolves to it. So the Host must be this server's own, the Origin too if there is one, and
a question must be JSON, which a form of another site cannot send.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qa_lib.config import Settings
from qa_lib.errors import ConfigError, UserError
from qa_lib.serving.demo.models import DemoModel, ask_all, load

_HOST = "127.0.0.1"
MAX_BYTES = 256 * 1024  # of a question with its passage
_TIMEOUT_S = 30.0


def open_server(settings: Settings, make_page: Callable[[Sequence[DemoModel]], str]) -> DemoServer:
    """Take the port and load the models; `serve_forever` then serves.

    Args:
        settings: Name the model, the one beside it, and the port.
        make_page: Returns the HTML of the page for these models.

    Raises:
        ModelError: A model is not available, or was never trained to answer.
        ConfigError: The port is in use, or not allowed for this user.
    """
    try:
        server = DemoServer(settings.demo.port)  # before the models: they take seconds
    except OSError as error:
        raise ConfigError(
            f"--demo.port {settings.demo.port} cannot be used: {error.strerror}.",
            "Give another one; 0 takes one that is free.",
        ) from None
    try:
        models = server.thread.submit(load, settings).result()
        server.show(models, make_page(models))
    except BaseException:
        server.server_close()
        raise
    return server


class DemoServer(ThreadingHTTPServer):
    """Answers the page's requests; of several questions the later ones wait."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """Listen on the loopback interface; port 0 takes a free one."""
        super().__init__((_HOST, port), _Handler)
        # torch is fast in one thread only, and a question waits for those before it.
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self.show([], "")

    def show(self, models: Sequence[DemoModel], page: str) -> None:
        """Set the models, from left to right, and their page."""
        self.models, self.page = models, page.encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a page that was closed before its answer came."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{_HOST}{self._port}/"

    @property
    def hosts(self) -> set[str]:
        """The Host headers that are accepted."""
        return {f"{_HOST}{self._port}", f"localhost{self._port}"}

    @property
    def _port(self) -> str:
        """The port with its colon; browsers leave out that of http."""
        return "" if self.server_port == 80 else f":{self.server_port}"

    def ask(self, question: str, context: str) -> list[dict[str, Any]]:
        """Ask every model; a question waits for those before, so that latencies mean something."""
        return self.thread.submit(ask_all, self.models, question, context).result()


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    timeout = _TIMEOUT_S
    server_version, sys_version = "qa-suite", ""

    def do_GET(self) -> None:
        """Send the page."""
        try:
            self._check_host()
            if self.path != "/":
                raise _Refused(404, "There is nothing here.")
        except _Refused as refusal:
            self._send_json(refusal.status, {"error": str(refusal)})
        else:
            self._send(200, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        """Answer a question."""
        self._send_json(*self._answer())

    def _answer(self) -> tuple[int, dict[str, Any]]:
        """Return status and content of the response."""
        try:
            self._check_host()
            if self.path != "/answer":
                raise _Refused(404, "There is nothing here.")
            question, context = self._read()
            return 200, {"models": self.server.ask(question, context)}
        except _Refused as refusal:
            return refusal.status, {"error": str(refusal)}
        except UserError as error:
            return 400, {"error": f"{error.problem} {error.remedy}"}
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            traceback.print_exc()
            return 500, {"error": "That is a bug; the terminal shows more."}

    def _check_host(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            raise _Refused(403, "This server answers under its own address only.")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise _Refused(403, "This server answers its own page only.")

    def _read(self) -> tuple[str, str]:
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "A question comes as application/json.")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refused(411, "A question comes with its length.")
        if len(length) > 9 or int(length) > MAX_BYTES:
            raise _Refused(413, f"Question and passage may have {MAX_BYTES:,} bytes.")
        try:
            values = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refused(400, "That is no JSON.") from None
        fields = values if isinstance(values, dict) else {}
        question, context = fields.get("question"), fields.get("context")
        if not (isinstance(question, str) and isinstance(context, str)):
            raise _Refused(400, "A question is an object with question and context.")
        return question, context

    def _send_json(self, status: int, values: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(values).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing about requests."""
