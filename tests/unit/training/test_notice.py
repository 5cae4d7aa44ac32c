"""Notices that a rank's machine is about to be taken away."""

from __future__ import annotations

import os
import signal
import time

import pytest

from qa_lib.runs import stop_signals
from qa_lib.training import notice
from tests.support.metadata import Metadata


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    monkeypatch.setattr(notice, "_given", set())


def test_the_metadata_server_says_when_a_machine_is_preempted(monkeypatch):
    server = Metadata()
    with server.serving():
        monkeypatch.setenv(notice.METADATA_URL, server.url)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # it is asked directly
        notice.heed_metadata()
        server.asked.wait(10)
        assert notice.given() == ""
        server.is_preempted.set()
        deadline = time.monotonic() + 10
        while not notice.given() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert notice.given() == notice.MACHINE


def test_nobody_is_asked_elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv(notice.METADATA_URL, raising=False)
    monkeypatch.setattr(notice, "_PRODUCT", tmp_path / "product_name")
    monkeypatch.setattr(notice.threading, "Thread", lambda **_: pytest.fail("a thread asks"))
    notice.heed_metadata()


def test_sigterm_is_a_notice_and_ends_nothing():
    with stop_signals.held_back(inherited=False):  # restores the handlers
        notice.heed_sigterm()
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.given() == notice.PROCESS
