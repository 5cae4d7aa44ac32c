"""Write a run's report.html again, from its folder alone, and open it where there is a screen.

    python -m jobs.report runs/train-quickstart-001

Train, adjust, tune and evaluate write it at their end. It is one file that needs no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def run(settings: Settings) -> None:
    """Write the report of the run that the settings name, and print its path."""
    from qa_lib import reporting
    from qa_lib.reporting import pages
    from qa_lib.runs import storage
    from qa_lib.runs.run_folder import RunFolder

    page = reporting.write(RunFolder(settings.model.name, "report"))
    print(page)
    if storage.is_local(page):
        pages.open_in_browser(Path(page).as_uri())


JOB = Job(
    "report",
    run,
    has_run_folder=False,
    reads_runs_of=("train", "adjust", "tune", "evaluate"),
    reads_unfinished=True,
    positional="--model.name",
)

if __name__ == "__main__":
    JOB.main()
