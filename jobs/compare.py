"""Set runs side by side: settings that differ, scores with intervals, paired difference, speed.

    python -m jobs.compare runs/train-squad-001 runs/adjust-squad-001
    make compare RUNS="runs/train-squad-001 runs/adjust-squad-001"

Prints a table, and writes the same as a page into --storage.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def describe(settings: Settings) -> dict[str, Any]:
    """Return what would be compared."""
    return {"runs": list(settings.compare.runs or ())}


def run(settings: Settings) -> None:
    """Print the comparison, write its page, and open that where there is a screen."""
    from qa_lib.reporting import compare, pages
    from qa_lib.runs import storage

    comparison = compare.compare(settings.compare.runs or (), seed=settings.seed)
    print(compare.table(comparison, shutil.get_terminal_size((100, 24)).columns))
    page = compare.write(comparison, settings.storage)
    print(f"{page} shows it")
    if storage.is_local(page):
        pages.open_in_browser(Path(page).as_uri())


JOB = Job(
    "compare",
    run,
    describe,
    has_run_folder=False,
    first_groups=("compare",),
    positional="--compare.runs",
)

if __name__ == "__main__":
    JOB.main()
