"""The demo's server: one question at a time, its own address only, and readers who leave."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qa_lib import config
from qa_lib.errors import ConfigError
from qa_lib.serving import demo
from qa_lib.serving.demo.models import DemoModel

NOTHING = {"score": 1.0, "start": 0, "end": 0, "answer": ""}


class Server(demo.DemoServer):
    """A demo that answers by a function, and tells when it is done with a connection."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        super().__init__(0)
        self.show([DemoModel("mine", "This model", answer, {})], "")  # type: ignore[arg-type]
        self.is_done = threading.Event()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        self.is_done.set()


@contextmanager
def serving(answer: Callable[..., Any]) -> Iterator[Server]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, question: str = "Who?", **headers: str) -> tuple[int, Any]:
    body = json.dumps({"question": question, "context": "Ann."})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/answer", body, {"Content-Type": "application/json"} | headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_questions_that_overlap_are_answered_one_after_the_other():
    inside, both = threading.Semaphore(1), threading.Event()
    overlaps = []

    def answer(question: str, context: str) -> dict[str, Any]:
        if not inside.acquire(blocking=False):
            overlaps.append(question)
            both.set()
            return NOTHING
        both.wait(0.1)  # for the other question to come in, if anything lets it
        inside.release()
        return NOTHING | {"answer": question}

    found: dict[str, tuple[int, Any]] = {}
    with serving(answer) as server:
        threads = [
            threading.Thread(target=lambda q=q: found.update({q: ask(server.server_port, q)}))
            for q in ("one", "two", "three")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert overlaps == []
    for question, (status, content) in found.items():
        assert status == 200 and content["models"][0]["answers"][0]["answer"] == question
    assert len(found) == 3


def test_a_reader_who_leaves_costs_no_traceback_and_no_other_answer(capfd: Any):
    is_asked, has_left = threading.Event(), threading.Event()

    def answer(question: str, context: str) -> dict[str, Any]:
        is_asked.set()
        assert has_left.wait(30)
        return NOTHING

    with serving(answer) as server:
        with socket.create_connection(("127.0.0.1", server.server_port)) as reader:
            body = json.dumps({"question": "Who?", "context": "Ann."})
            head = f"Host: {server.url[7:-1]}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            reader.sendall(f"POST /answer HTTP/1.1\r\n{head}{body}".encode())
            assert is_asked.wait(30)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        has_left.set()
        assert server.is_done.wait(30)
        assert ask(server.server_port)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_bug_is_told_to_both_the_page_and_the_terminal(capfd: Any):
    def answer(question: str, context: str) -> dict[str, Any]:
        raise ZeroDivisionError

    with serving(answer) as server:
        status, content = ask(server.server_port)
    assert status == 500 and "terminal" in content["error"]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_browser_leaves_out_the_port_80():
    with serving(lambda question, context: NOTHING) as server:
        port, own = server.server_port, {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}
        assert ask(port, **own)[0] == 403
        server.server_port = 80  # as it is told to a browser
        assert server.url == "http://127.0.0.1/"
        assert ask(port, **own)[0] == ask(port, Host="localhost")[0] == 200
        assert ask(port)[0] == 403


def test_a_port_in_use_is_said_before_any_model_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = config.parse("demo", ["--model.name", "runs/nowhere", "--demo.port", port])
        with pytest.raises(ConfigError, match=f"--demo.port {port} cannot be used"):
            demo.open_server(settings, lambda models: "")
