"""Say in seconds what would fail: Ray, resources, versions, precision, storage, model, data, disk.

    python -m jobs.doctor --recipe squad-cpu --data.source ~/squad
    make submit JOB=doctor RECIPE=gcp ARGS="--storage gs://bucket/runs"    # from inside the cluster

A line for each thing looked at, with the remedy where it is a fault; exit code 2 then. Every job
makes the same checks before it starts, but for those that it makes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def doctor(settings: Settings) -> None:
    """Print the findings as they come, and fail where there is a fault."""
    if settings.dry_run:
        print(settings.to_yaml())
        return
    from qa_lib import doctor as checks
    from qa_lib.errors import ResourceError

    faults = []
    for finding in checks.examine(settings):
        print(finding, flush=True)
        if finding.verdict == "fault":
            faults.append(finding.what)
    if faults:
        raise ResourceError(
            f"{len(faults)} of the checks failed: {', '.join(faults)}.", "Each says what to do."
        )
    print(f"{settings.recipe} can run")


if __name__ == "__main__":
    _entry.main("doctor", doctor)
