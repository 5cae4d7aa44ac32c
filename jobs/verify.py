"""Prove a finished run again, from its folder alone.

    python -m jobs.verify runs/train-quickstart-001
    python -m jobs.verify runs/train-squad-cpu-001 --data.source ~/squad  # where they are now

Hashes every checkpoint, makes the batch plan again and compares the ledger of trained windows with
it, scores predictions.json again, and loads the model in a process that imports only transformers
and torch. Prints a line per check; the exit code is 2 where one fails, with the file named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def run(settings: Settings) -> None:
    """Check the run that the settings name, and print the findings."""
    from qa_lib.reporting import verify
    from qa_lib.runs.run_folder import RunFolder

    folder = RunFolder(settings.model.name, "verify")
    findings = []
    for finding in verify.verify(folder, settings):
        print(finding, flush=True)
        findings.append(finding)
    print(verify.conclude(folder, findings))


JOB = Job(
    "verify",
    run,
    has_run_folder=False,
    reads_runs_of=("train", "adjust", "tune"),
    positional="--model.name",
)

if __name__ == "__main__":
    JOB.main()
