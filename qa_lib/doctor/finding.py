"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        what: Name of the check.
        verdict: good; note: it works, but see; fault: the job would fail.
        message: What was found.
        remedy: What to do about it; empty where it is good.
    """

    what: str
    verdict: Verdict
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return a line, and the remedy on a line of its own."""
        mark = {"good": "ok   ", "note": "note ", "fault": "FAULT"}[self.verdict]
        line = f"{mark} {self.what}: {self.message}"
        return f"{line}\n      {self.remedy}" if self.remedy else line
