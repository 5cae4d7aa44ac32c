"""Stop a submitted job, named by its id or by its run; it writes a checkpoint and ends.

python -m cluster.stop raysubmit_...        # make stop ID=raysubmit_...
python -m cluster.stop first                # make stop RUN=first: the newest job of that run
"""

from __future__ import annotations

import sys

from cluster import logs, submit
from jobs import _runner


def stop(name: str) -> int:
    """Ask the cluster that `submit` uses to stop a job; return the exit code.

    Raises:
        ConfigError: There is no such job.
        ResourceError: The cluster does not answer, or refuses the request.
    """
    client = submit.connect()
    identity = logs.job_of(client, name)
    ends = client.stop_job(identity)
    print(f"{identity} {'is asked to stop' if ends else 'had ended'}; `make logs ID={identity}`")
    return 0


def main() -> None:
    """Stop the job of the command line."""
    name = " ".join(sys.argv[1:]).removeprefix("runs/")
    sys.exit(_runner.exit_code(lambda: stop(name)))


if __name__ == "__main__":
    main()
