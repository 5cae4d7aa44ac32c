"""Report and demo in a real browser: a click, a question, no complaint, nothing from outside."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jobs.demo
from qa_lib import reporting
from qa_lib.reporting.demo_page import demo_page
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder
from qa_lib.serving import demo
from tests.support import tiny
from tests.support.browser import Browser, chromium
from tests.support.report_runs import write_run

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = "--demo.port 0 --data.max-length 112 --data.stride 32".split()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as window:
        yield window


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with models: a parent, and one that is said to be cut from it."""
    folder = tmp_path_factory.mktemp("runs")
    tiny.write_model(folder / "parent" / "model")
    RunFolder(str(folder / "parent"), "train").write_result(Evaluated(f1=1.0))
    run = write_run(folder / "mine", "adjust", parent=str(folder / "parent"))
    tiny.write_model(folder / "mine" / "model")
    reporting.write(run)
    reporting.write(write_run(folder / "search", "tune"))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[demo.DemoServer]:
    settings = jobs.demo.JOB.parse([str(folder / "mine"), *FLAGS])
    with demo.open_server(settings, demo_page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# -- the report


@pytest.mark.parametrize("name", ["mine", "search"])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_a_report_is_drawn_and_fits(
    browser: Browser, folder: Path, name: str, width: int, dark: bool
):
    url = (folder / name / "report.html").as_uri()
    browser.open(url, width=width, dark=dark)
    charts = browser.find(".chart")
    assert len(charts) >= 5
    assert len(browser.wait(".chart .main-svg")) >= len(charts)
    assert browser.script("return document.documentElement.scrollWidth") == width
    inks = [browser.script(f"return getComputedStyle({e}).{p}") for e, p in _COLOURS]
    assert inks[0] == ("rgb(16, 20, 25)" if dark else "rgb(246, 247, 249)")
    assert inks[1] == inks[2], "the text of charts has the page's colour"
    assert browser.complaints() == []
    assert browser.requests() == [url]


_COLOURS = (
    ("document.body", "backgroundColor"),
    ("document.body", "color"),
    ("document.querySelector('.chart .xtick text')", "fill"),
)


def test_charts_follow_the_colours_of_the_system(browser: Browser, folder: Path):
    browser.open((folder / "mine" / "report.html").as_uri())
    browser.wait(".chart .xtick text")
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    for element, colour in _COLOURS[1:]:  # the charts are drawn again
        now = f"const e = {element}; return !!e && getComputedStyle(e).{colour}"
        browser.wait_for(f"{now} === 'rgb(231, 235, 240)'")


def test_a_click_shows_only_what_is_wrong(browser: Browser, folder: Path):
    browser.open((folder / "mine" / "report.html").as_uri())
    kinds = [case.get_attribute("data-kind") for case in browser.find("#examples .case")]
    (button,) = browser.find("[data-filters] button[value=wrong]")
    button.click()
    shown = [case for case in browser.find("#examples .case") if case.is_displayed()]
    assert 0 < len(shown) == kinds.count("wrong") < len(kinds)
    assert {case.get_attribute("data-kind") for case in shown} == {"wrong"}
    assert button.get_attribute("aria-pressed") == "true"
    assert button.text == f"Wrong {len(shown)}"
    assert browser.complaints() == []


def test_a_point_of_the_front_shows_its_setting_when_hovered(browser: Browser, folder: Path):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.open((folder / "search" / "report.html").as_uri())
    (point,) = browser.wait("#front .scatterlayer .trace:nth-child(2) .point")[:1]
    browser.script("document.getElementById('front').scrollIntoView()")
    ActionChains(browser.driver).move_to_element(point).perform()
    assert "intermediate" in browser.wait("#front .hoverlayer .hovertext")[0].text


# -- the demo


def test_a_question_is_answered_by_the_model_and_its_parent(
    browser: Browser, server: demo.DemoServer
):
    browser.requests()
    browser.open(server.url)
    (field,) = browser.find("#context")
    passage = "\U0001f600 <b>Ann</b> built the bridge. </script>"
    browser.script(f"document.getElementById('context').value = {json.dumps(passage)}")
    browser.find("#ask")[0].click()
    models = browser.wait("section.model")
    assert [each.text.split("\n")[0] for each in models] == ["This model", "Its parent"]
    expected = server.ask(
        browser.script("return document.getElementById('question').value"), passage
    )
    for model, answers in zip(models, expected, strict=True):
        best = answers["answers"][0]
        assert model.find_element("css selector", ".best").text == best["answer"]
        assert model.find_element("css selector", "mark").text == best["answer"]
        assert model.find_element("css selector", ".text").text == passage
        assert len(model.find_elements("css selector", "tr")) == len(answers["answers"]) > 1
        assert float(model.find_element("css selector", ".latency").text.removesuffix(" ms")) > 0
    second = models[0].find_elements("css selector", "tr button")[1]
    second.click()
    assert models[0].find_element("css selector", "mark").text == second.text
    assert browser.complaints() == []
    assert browser.requests() == [server.url, f"{server.url}answer"]


def test_an_empty_question_is_explained_on_the_page(browser: Browser, server: demo.DemoServer):
    browser.open(server.url)
    browser.script("document.getElementById('question').value = ''")
    browser.find("#ask")[0].click()
    assert "question" in browser.wait("#error:not([hidden])")[0].text


def test_several_questions_wait_in_blocks_of_their_own(browser: Browser, server: demo.DemoServer):
    browser.open(server.url)
    browser.requests()
    asked = [chip.text for chip in browser.find("#questions button")[:2]]
    is_free = threading.Event()
    server.thread.submit(is_free.wait, 60)  # as while the server is at work
    for chip in browser.find("#questions button")[:2]:
        browser.script("arguments[0].click()", chip)
    assert [each.text for each in browser.find(".asked[aria-busy] h2")] == asked[::-1]
    assert len(browser.find(".busy")) == 2
    is_free.set()
    browser.wait(".asked:nth-child(1) section.model")
    browser.wait(".asked:nth-child(2) section.model")
    assert browser.find(".busy") == []
    assert browser.requests() == [f"{server.url}answer"] * 2


def test_a_long_passage_shows_its_answer(browser: Browser, server: demo.DemoServer):
    browser.open(server.url)
    passage = "Nobody was there. " * 200 + "\n\nAnn built the bridge."
    browser.script(f"document.getElementById('context').value = {json.dumps(passage)}")
    browser.find("#ask")[0].click()
    browser.wait("section.model mark")
    inside = browser.script(
        "const place = document.querySelector('.model .text').getBoundingClientRect();"
        "const mark = document.querySelector('.model mark').getBoundingClientRect();"
        "return [place.height, mark.top >= place.top && mark.top < place.bottom];"
    )
    assert inside[0] < 300 and inside[1]


def send(server: demo.DemoServer, method: str, path: str, **headers: str) -> tuple[int, Any]:
    body = headers.pop("body", None)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


QUESTION = json.dumps({"question": "Who?", "context": "Ann."})
JSON = "application/json"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"body": QUESTION, "Content_Type": JSON}),
        (403, {"body": QUESTION, "Content_Type": JSON, "Host": "evil.example"}),
        (403, {"body": QUESTION, "Content_Type": JSON, "Host": "evil.example:8321"}),
        (403, {"body": QUESTION, "Content_Type": JSON, "Origin": "http://evil.example"}),
        (403, {"body": QUESTION, "Content_Type": JSON, "Origin": "null"}),
        (415, {"body": QUESTION, "Content_Type": "text/plain"}),
        (415, {"body": QUESTION}),
        (413, {"Content_Type": JSON, "Content_Length": "999999999999999"}),
        (411, {"Content_Type": JSON, "Content_Length": "-1"}),
        (400, {"body": "[" * 100_000, "Content_Type": JSON}),
        (400, {"body": '{"question": 3}', "Content_Type": JSON}),
        (400, {"body": '{"question": " ", "context": "Ann."}', "Content_Type": JSON}),
    ],
)
def test_only_the_page_itself_gets_answers(
    server: demo.DemoServer, status: int, headers: dict[str, str]
):
    found, answer = send(server, "POST", "/answer", **headers)
    assert found == status
    assert ("models" in answer) == (status == 200)


def test_nothing_else_is_served_and_only_to_this_machine(server: demo.DemoServer):
    assert server.server_address[0] == "127.0.0.1"
    assert send(server, "GET", "/../config.yaml")[0] == 404
    assert send(server, "GET", "/", Host="evil.example")[0] == 403


def test_ctrl_c_ends_the_job_and_the_page_says_so(browser: Browser, folder: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "jobs.demo", str(folder / "mine"), *FLAGS],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            assert said.startswith("http://127.0.0.1:")
            browser.open(said.split()[0])
            browser.find("#ask")[0].click()
            browser.wait("section.model")
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in stderr

    # A browser keeps connections in store. Only the end of the process surely closes them all: a
    # server closed in this one would still answer over them.
    browser.find("#ask")[0].click()
    assert "Is it still running?" in browser.wait("#error:not([hidden])")[0].text
    assert len(browser.find(".asked")) == 1, "the question before keeps its answers"
    browser.complaints()  # of the connection
