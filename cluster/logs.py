"""Follow the log of a submitted job, named by its id or by its run.

python -m cluster.logs raysubmit_...        # make logs ID=raysubmit_...
python -m cluster.logs first                # make logs RUN=first: the newest job of that run
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cluster import submit
from jobs import _runner
from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


def job_of(client: JobSubmissionClient, name: str) -> str:
    """Return the id of a job: the name itself, or the newest job that was sent with that run name.

    Raises:
        ConfigError: There is no such job.
    """
    jobs = [job for job in client.list_jobs() if job.submission_id]
    if name in {job.submission_id for job in jobs}:
        return name
    of_runs = [(run, job) for job in jobs if (run := (job.metadata or {}).get("run"))]
    found = [job for run, job in of_runs if run == name]
    if found:
        return str(max(found, key=lambda job: job.start_time or 0).submission_id)
    known = sorted({run for run, _ in of_runs})
    raise ConfigError(
        f"The cluster knows no job or run {name!r}.",
        f"Give ID=raysubmit_... or RUN=NAME; runs: {', '.join(known) or 'none has a name'}.",
    )


def main() -> None:
    """Follow the job of the command line; exit with its code."""
    name = " ".join(sys.argv[1:]).removeprefix("runs/")

    def follow() -> int:
        client = submit.connect()
        return submit.follow(client, job_of(client, name))

    sys.exit(_runner.exit_code(follow))


if __name__ == "__main__":
    main()
