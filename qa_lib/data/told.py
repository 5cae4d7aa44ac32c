"""What reading a source changed and left out, told on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping

_told: set[str] = set()  # a job reads its questions more than once


def tell(source: str, split: str, num_quarantined: int, notes: Mapping[str, int]) -> None:
    """Print a line about a source's file of a split, the first time in this process.

    Args:
        source: The name that the questions were loaded by.
        split: Whose rows were read.
        num_quarantined: Rows left out as faulty.
        notes: What else was changed, and how often, as of `Questions.notes`.
    """
    counts = {"rows left out as faulty": num_quarantined, **notes}
    changes = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    line = f"note: {source}, {split}: {changes}."
    if changes and line not in _told:
        _told.add(line)
        print(line, file=sys.stderr)
