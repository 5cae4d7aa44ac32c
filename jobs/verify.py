"""Prove a finished run anew, from its folder alone.

    python -m jobs.verify runs/train-quickstart-001
    python -m jobs.verify runs/train-squad-cpu-001 --data.source ~/squad

Hashes every checkpoint, makes the plan again and compares the ledger of trained windows with it,
scores predictions.json again, and loads the model in a process that imports only transformers and
torch. A line for each; exit code 2 where something is wrong, with the file named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def verify(settings: Settings) -> None:
    """Check the run that the settings name, and print what was found."""
    if settings.dry_run:
        print(settings.to_yaml())
        return
    from qa_lib.config import DataSettings
    from qa_lib.reporting import verify
    from qa_lib.runs.run_folder import RunFolder

    run = RunFolder(settings.model.name, "verify")
    moved = settings.data.source != DataSettings().source
    findings = []
    for finding in verify.verify(run, settings.data.source if moved else None):
        print(finding, flush=True)
        findings.append(finding)
    print(verify.conclude(run, findings))


if __name__ == "__main__":
    _entry.main("verify", verify)
