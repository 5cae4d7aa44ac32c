"""Write a run's report.html anew, out of its folder alone, and open it where there is a screen.

    python -m jobs.report runs/train-quickstart-001

Train, adjust, tune and evaluate write it at their end. It is one file that needs no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def report(settings: Settings) -> None:
    """Write the report of the run that the settings name, and say where it is."""
    if settings.dry_run:
        print(settings.to_yaml())
        return
    from pathlib import Path

    from qa_lib import reporting
    from qa_lib.reporting import pages
    from qa_lib.runs import storage
    from qa_lib.runs.run_folder import RunFolder

    place = reporting.write(RunFolder(settings.model.name, "report"))
    print(place)
    if storage.is_local(place):
        pages.open_in_browser(Path(place).as_uri())


if __name__ == "__main__":
    _entry.main("report", report)
