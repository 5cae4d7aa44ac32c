"""Set runs side by side: settings that differ, scores with intervals, paired difference, speed.

    python -m jobs.compare runs/train-squad-001 runs/adjust-squad-001
    make compare RUNS="runs/train-squad-001 runs/adjust-squad-001"

Prints a table, and writes the same as a page into --storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def compare(settings: Settings) -> None:
    """Print the comparison, and say where its page is."""
    if settings.dry_run:
        print(settings.to_yaml())
        return
    import shutil
    from pathlib import Path

    from qa_lib.reporting import compare, pages
    from qa_lib.runs import storage

    found = compare.compare(settings.compare.runs or (), seed=settings.seed)
    print(compare.table(found, shutil.get_terminal_size((100, 24)).columns))
    place = compare.write(found, settings.storage)
    print(f"{place} shows it")
    if storage.is_local(place):
        pages.open_in_browser(Path(place).as_uri())


if __name__ == "__main__":
    _entry.main("compare", compare)
