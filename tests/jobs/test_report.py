"""Jobs report and compare through their commands: what they print, write, open and refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qa_lib.reporting import pages
from tests.support.report_runs import write_run

REPOSITORY = Path(__file__).resolve().parents[2]
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, job in (("one", "train"), ("other", "adjust")):
        write_run(tmp_path / "runs" / name, job)
    return tmp_path


def run(folder: Path, job: str, *words: str, **screen: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _SCREENS}
    inherited |= {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", *words],
        cwd=folder,
        env=inherited | screen,
        capture_output=True,
        text=True,
        timeout=300,
    )


def browser_of(folder: Path) -> str:
    """Return a browser that does no more than write down what it is to open."""
    program = folder / "browser"
    program.write_text(f'#!/bin/sh\necho "$*" >>"{folder}/opened"\n')
    program.chmod(0o755)
    return str(program)


def test_a_report_is_written_named_and_opened_where_there_is_a_screen(folder: Path):
    page = folder / "runs/one/report.html"
    browser = browser_of(folder)
    done = run(folder, "report", "runs/one", BROWSER=browser)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{page}\n", "")
    assert "<h1>one" in page.read_text()
    assert not (folder / "opened").exists()
    page.unlink()
    done = run(folder, "report", "--model.name", "runs/one", BROWSER=browser, DISPLAY=":0")
    assert done.returncode == 0 and page.exists()
    assert (folder / "opened").read_text() == f"{page.as_uri()}\n"


def test_a_comparison_is_printed_written_and_opened(folder: Path):
    words = ("runs/one", "runs/other", "--storage", "pages")
    done = run(folder, "compare", *words, BROWSER=browser_of(folder), WAYLAND_DISPLAY="wayland-0")
    assert done.returncode == 0, done.stderr
    (page,) = (folder / "pages").glob("compare-one-other-*.html")
    *table, last = done.stdout.splitlines()
    assert last == f"{page} shows it"
    assert table[0].split() == ["one", "other"] and any(line.startswith("F1 ") for line in table)
    assert (folder / "opened").read_text() == f"{page.as_uri()}\n"


@pytest.mark.parametrize(
    ("job", "words", "problem"),
    [
        ("report", ["runs/nowhere"], "is not a run folder"),
        ("compare", ["runs/one"], "compare.runs"),
        ("compare", ["runs/one", "runs/nowhere"], "is not a run folder"),
        ("compare", ["runs/one", "runs/other", "--storage", "taken"], "cannot be written"),
    ],
)
def test_what_cannot_be_shown_is_the_users_to_mend(
    folder: Path, job: str, words: list[str], problem: str
):
    (folder / "taken").write_text("a file")
    done = run(folder, job, *words)
    assert done.returncode == 2
    assert problem in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) >= 2, "with a remedy"


@pytest.mark.parametrize("job", ["report", "compare"])
def test_a_dry_run_writes_nothing(folder: Path, job: str):
    before = sorted(folder.rglob("*"))
    names = ["runs/one", "runs/other"] if job == "compare" else ["runs/one"]
    done = run(folder, job, *names, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "storage:" in done.stdout and sorted(folder.rglob("*")) == before


def test_without_a_screen_no_browser_of_the_terminal_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in _SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BROWSER", browser_of(tmp_path))
    assert pages.open_in_browser("http://127.0.0.1:8321/") is False
    assert not (tmp_path / "opened").exists()
