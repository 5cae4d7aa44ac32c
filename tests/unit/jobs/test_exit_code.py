"""What the end of every command is held to, whatever its work."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from jobs._runner import exit_code


def test_a_terminal_that_cannot_show_a_character_gets_its_number(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", line_buffering=True))
    assert exit_code(lambda: print("15–38 学")) == 0
    assert written.getvalue() == rb"15\u201338 \u5b66" + b"\n"


ENDLESS = """
import os, sys
from jobs._runner import exit_code

def work():
    for step in range(3):
        print(step, "of 3", file=sys.stderr, flush=True)
    os.write(2, b"others may write there too")
    return 7

sys.exit(exit_code(work))
"""


def test_work_outlives_the_reader_of_its_progress():
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([sys.executable, "-c", ENDLESS], stderr=writing, timeout=60)
    os.close(writing)
    assert ended.returncode == 7
