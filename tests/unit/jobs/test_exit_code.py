"""What the end of every command is held to, whatever its work."""

from __future__ import annotations

import io
import sys

import pytest

from jobs._runner import exit_code


def test_a_terminal_that_cannot_show_a_character_gets_its_number(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", line_buffering=True))
    assert exit_code(lambda: print("15–38 学")) == 0
    assert written.getvalue() == rb"15\u201338 \u5b66" + b"\n"
