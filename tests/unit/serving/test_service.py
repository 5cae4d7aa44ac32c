"""The HTTP interface: what is refused, with which status, cause and remedy, and what is counted."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from qa_lib.errors import DataError
from qa_lib.serving.service import deployments
from qa_lib.serving.service.app import Service
from qa_lib.serving.service.protocol import Question, Reply
from tests.support.service import ASKED, Echo, call, serving

TOKEN = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A service without a token and with small limits."""
    limits = {"max_body_bytes": 4096, "max_context": 1000, "max_questions": 3}
    with serving(Echo("mine", "small"), **limits) as (port, _):
        yield port


def test_a_question_and_a_list_of_them_are_answered_in_kind(port: int):
    status, found = call(port, body=ASKED)
    assert status == 200
    assert (found["answer"], found["score"], found["start"], found["end"]) == ("Who?", 1.0, 0, 1)
    assert found["model"] == "mine" and found["answers"][0]["answer"] == "Who?"
    two = [ASKED, ASKED | {"question": "What?", "top_k": 3, "threshold": -1.5}]
    status, many = call(port, body=two)
    assert (status, [each["answer"] for each in many]) == (200, ["Who?", "What?"])


def test_models_answer_side_by_side_by_path(port: int):
    assert call(port, "/models", method="GET") == (200, ["mine", "small"])
    assert call(port, "/models/small/answer", ASKED)[1]["model"] == "small"
    status, fault = call(port, "/models/other/answer", ASKED)
    assert status == 404 and "mine, small" in fault["remedy"]


@pytest.mark.parametrize(
    ("body", "status", "names"),
    [
        (b"{", 400, "JSON"),
        (b"[" * 4000, 400, "JSON"),
        (b'{"question": "Who?", "context": "Ann.", "top_k": ' + b"9" * 4000, 400, "JSON"),
        ({"question": "Who?"}, 422, "context"),
        ([ASKED, {"question": " ", "context": "Ann."}], 422, "1.question: it is empty"),
        (ASKED | {"top_k": 0}, 422, "top_k"),
        (ASKED | {"colour": "red"}, 422, "colour"),
        (b'{"question": "Who?", "context": "Ann.", "threshold": NaN}', 422, "threshold"),
        (b'{"question": "Who?", "context": "\\ud800"}', 422, "context"),
        ("Who?", 422, "body"),
        ([], 422, "no question"),
        ([ASKED] * 4, 413, "4 questions"),
        (b"\xff\xfe\xfd", 400, "JSON"),
        (b"", 422, "body"),
        (ASKED | {"question": None}, 422, "question"),
        (ASKED | {"top_k": 101}, 422, "top_k"),
        (ASKED | {"context": "a" * 1001}, 413, "1,001 characters"),
        (ASKED | {"context": "a" * 5000}, 413, "4,096 bytes"),
    ],
)
def test_what_is_no_question_is_refused_with_cause_and_remedy(port, body, status, names):
    found, fault = call(port, body=body)
    assert (found, set(fault)) == (status, {"error", "remedy"})
    assert names in fault["error"] and fault["remedy"]


def test_other_kinds_of_bodies_methods_and_paths_are_refused(port: int):
    assert call(port, body=ASKED, Content_Type="text/plain")[0] == 415
    assert call(port, method="GET")[0] == 405
    assert call(port, "/nowhere", method="GET")[0] == 404


def test_a_body_without_length_is_counted_as_it_comes(port: int):
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    head = b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + 5 * chunk + b"0\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.1 413 ")


def test_without_a_token_only_this_machines_own_names_are_answered(port: int):
    for name in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert call(port, body=ASKED, Host=name)[0] == 200
    assert call(port, body=ASKED, Host="attacker.example")[0] == 403


def test_no_request_but_a_probe_passes_without_the_token():
    with serving(Echo(), TOKEN) as (port, _):
        wrong = ["", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer"]
        for path in ("/answer", "/metrics", "/docs", "/openapi.json", "/models", "/nowhere"):
            method = "POST" if path == "/answer" else "GET"
            for given in wrong:
                status, fault = call(port, path, ASKED, method, Authorization=given)
                assert status == 401 and "Bearer" in fault["remedy"], (path, given)
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert call(port, body=ASKED, Host="service.example", **right)[0] == 200
        assert (
            call(port, "/healthz", method="GET")[0] == call(port, "/readyz", method="GET")[0] == 200
        )


def test_the_openapi_page_tells_every_status(port: int):
    schema = call(port, "/openapi.json", method="GET")[1]
    responses = schema["paths"]["/answer"]["post"]["responses"]
    told = "200 400 401 403 404 408 413 415 422 500 503 504"
    assert set(responses) == set(told.split())
    fault = {"$ref": "#/components/schemas/Fault"}
    for status in responses.keys() - {"200"}:
        assert responses[status]["content"]["application/json"]["schema"] == fault
    assert set(schema["components"]["schemas"]["Fault"]["required"]) == {"error", "remedy"}
    assert "securitySchemes" not in schema["components"]
    assert call(port, "/docs", method="GET")[0] == 200


def test_the_openapi_page_tells_that_a_token_is_needed():
    with serving(Echo(), TOKEN) as (port, _):
        right = {"Authorization": f"Bearer {TOKEN}"}
        schema = call(port, "/openapi.json", method="GET", **right)[1]
        assert call(port, body=ASKED, **right)[0] == 200
    (name, scheme), *_ = schema["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path in ("/answer", "/models/{model}/answer"):
        assert schema["paths"][path]["post"]["security"] == [{name: []}]


class Held(Echo):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = threading.Event(), threading.Event()

    async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
        self.is_asked.set()
        await asyncio.to_thread(self.may_answer.wait, 30)
        return await super().answer(model, questions)


def test_more_than_may_wait_are_refused_at_once():
    backend = Held()
    with serving(backend, max_waiting=1) as (port, _), ThreadPoolExecutor() as pool:
        first = pool.submit(call, port, body=ASKED)
        assert backend.is_asked.wait(30)
        status, fault = call(port, body=ASKED)
        assert status == 503 and "waiting" in fault["error"]
        backend.may_answer.set()
        assert first.result()[0] == 200
        assert call(port, body=ASKED)[0] == 200


def test_a_request_that_takes_too_long_is_given_up():
    backend = Held()
    with serving(backend, timeout_s=0.05) as (port, _):
        status, fault = call(port, body=ASKED)
        backend.may_answer.set()
    assert status == 504 and "0.05 s" in fault["error"]


def test_a_client_that_goes_away_is_no_longer_answered():
    class Waiting(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.is_asked, self.is_given_up = threading.Event(), threading.Event()

        async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
            self.is_asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.is_given_up.set()
            raise AssertionError

    backend, body = Waiting(), json.dumps(ASKED).encode()
    head = b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(backend) as (port, _):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert backend.is_asked.wait(30)
        assert backend.is_given_up.wait(30)
        count = 'qa_requests_total{model="mine",status="499"} 1.0'
        while count not in call(port, "/metrics", method="GET")[1]:
            pass


def test_a_body_that_does_not_come_is_given_up():
    with serving(Echo(), timeout_s=0.05) as (port, _):
        head = b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head + b"Content-Length: 10\r\n\r\n{")
            assert client.recv(64).startswith(b"HTTP/1.1 408 ")


def test_draining_answers_what_is_there_and_refuses_the_rest():
    backend = Held()
    with serving(backend) as (port, service), ThreadPoolExecutor() as pool:
        first = pool.submit(call, port, body=ASKED)
        assert backend.is_asked.wait(30)
        drained = pool.submit(asyncio.run, drain(service, backend))
        status, fault = 200, {}
        while status == 200 or "stopping" not in fault["error"]:
            status, fault = call(port, "/readyz", method="GET")
        assert call(port, body=ASKED)[0] == 503
        backend.may_answer.set()
        assert first.result()[0] == 200
        assert drained.result() == 0
        assert call(port, "/healthz", method="GET")[0] == 200


async def drain(service: Service, backend: Held) -> int:
    """Drain in the loop of another thread, in turns, as the event belongs to the service's own."""
    while await service.drain(0.01):
        pass
    return 0


def test_what_the_model_refuses_and_what_is_a_bug():
    class Faulty(Echo):
        async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
            if questions[0].question == "Who?":
                raise DataError("There is no room.", "Ask for less.")
            raise ZeroDivisionError("secret")

    with serving(Faulty()) as (port, _):
        assert call(port, body=ASKED) == (
            400,
            {"error": "There is no room.", "remedy": "Ask for less."},
        )
        status, fault = call(port, body=ASKED | {"question": "Why?"})
        assert status == 500 and "secret" not in json.dumps(fault)


def test_a_model_that_is_lost_makes_the_service_not_ready():
    backend = Echo()
    backend.is_there = False
    with serving(backend) as (port, _):
        assert call(port, "/readyz", method="GET")[0] == 503
        assert call(port, "/healthz", method="GET")[0] == 200


def test_metrics_count_requests_latency_queue_and_batches():
    with serving(Echo("mine", "small")) as (port, _):
        call(port, body=[ASKED, ASKED])
        call(port, "/models/small/answer", ASKED)
        call(port, body=ASKED | {"context": "a" * 200_000})
        call(port, body=b"{")
        for name in ("other", "another"):
            call(port, f"/models/{name}/answer", ASKED)
        status, text = call(port, "/metrics", method="GET")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200
    assert values['qa_request_seconds_count{model="mine"}'] == "1.0"
    assert values['qa_requests_total{model="mine",status="200"}'] == "1.0"
    assert values['qa_requests_total{model="mine",status="413"}'] == "1.0"
    assert values['qa_requests_total{model="mine",status="400"}'] == "1.0"
    assert values['qa_requests_total{model="",status="404"}'] == "2.0"
    assert values['qa_queue_seconds_count{model="mine"}'] == "2.0"
    assert values['qa_batch_questions_count{model="small"}'] == "1.0"
    assert values['qa_requests_in_progress{model="mine"}'] == "0.0"


@pytest.fixture(autouse=True)
def no_traceback_but_of_bugs(capfd: Any, request: Any) -> Iterator[None]:
    yield
    if "bug" not in request.node.name:
        assert "Traceback" not in capfd.readouterr().err


def test_the_flags_of_a_config_file_may_be_lists_and_none(monkeypatch):
    monkeypatch.setattr(deployments, "check", lambda settings: None)
    monkeypatch.setattr(deployments, "application", lambda settings: settings)
    flags = {"serve.beside": ["a=/x", "b=/y"], "serve.max-replicas": None, "serve.replicas": 2}
    settings = deployments.build({"serve.token-file": "/t", **flags})
    assert settings.serve.beside == ("a=/x", "b=/y")
    assert (settings.serve.replicas, settings.serve.max_replicas) == (2, None)
