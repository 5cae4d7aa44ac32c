"""Say in seconds what would fail: Ray, resources, versions, precision, storage, model, data, disk.

    python -m jobs.doctor --recipe squad-cpu --data.source ~/squad
    make submit JOB=doctor RECIPE=gcp ARGS="--storage gs://bucket/runs"    # from inside the cluster

Prints a line per check, with the remedy where it found a fault; the exit code is 2 then. Every job
makes the same checks before it starts, except those that the job itself makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def run(settings: Settings) -> None:
    """Print the findings as they come, and fail where there is a fault."""
    from qa_lib import doctor
    from qa_lib.errors import ResourceError

    faults = []
    for finding in doctor.examine(settings):
        print(finding, flush=True)
        if finding.verdict == "fault":
            faults.append(finding.what)
    if faults:
        raise ResourceError(
            f"{len(faults)} of the checks failed: {', '.join(faults)}.",
            "The lines above say what to do.",
        )
    print(f"{settings.recipe} can run")


JOB = Job("doctor", run, has_run_folder=False)

if __name__ == "__main__":
    JOB.main()
