"""The newest run of a storage, which jobs take where none is named."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from pyarrow import fs

from qa_lib.errors import ConfigError
from qa_lib.runs.folder import Folder
from qa_lib.runs.result_file import read_result
from qa_lib.runs.run_names import storage_errors

if TYPE_CHECKING:
    from qa_lib.config import Settings


def newest_run(settings: Settings, jobs: Collection[str], *, finished: bool = True) -> str | None:
    """Return the path of the newest run of these jobs in the settings' storage, or None.

    Args:
        settings: Name the storage.
        jobs: Whose runs count.
        finished: Whether only those that are done do.

    Raises:
        ConfigError: The storage cannot be read, or a folder in it, and no other one fits.
    """
    found, faults = [], []
    with storage_errors(settings):
        storage = Folder(settings.storage, patient=False)
        for entry in storage.entries():
            if entry.type != fs.FileType.Directory:
                continue
            run = storage.child(entry.base_name)
            try:
                result = read_result(run)
            except ConfigError as fault:  # of one folder, such as lost+found: others may fit
                faults.append(fault.problem)
                continue
            if result.get("job") in jobs and (result.get("status") == "done" or not finished):
                found.append((str(result.get("started_at", "")), run.url()))
    if faults and not found:
        raise ConfigError(faults[0], "Restore it, or name a run or model with --model.name.")
    for problem in faults:
        print(f"note: left out: {problem}", file=sys.stderr)
    return max(found)[1] if found else None
