"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "note", "fault"]
_MARKS: dict[Verdict, str] = {"good": "ok", "note": "note", "fault": "FAULT"}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: Name of the check, or the file concerned.
        verdict: good; note: worth knowing, or not checked; fault: something fails or is wrong.
        message: What the check saw.
        remedy: What to do about it; empty where nothing is to be done.
    """

    what: str
    verdict: Verdict
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return one line, and the remedy on a second."""
        line = f"{_MARKS[self.verdict]:<5} {self.what}: {self.message}"
        return f"{line}\n      {self.remedy}" if self.remedy else line
