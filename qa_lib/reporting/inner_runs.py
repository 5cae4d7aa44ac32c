"""The runs in a run's folder: stages of a recovery, and a search's parent and front."""

from __future__ import annotations

from qa_lib.config import Settings
from qa_lib.runs.run_folder import RunFolder

_STAGES, _FRONT, _PARENT = "stages", "front", "parent"


def names(run: RunFolder, settings: Settings) -> list[str]:
    """Return the folders, in the run's, of the runs that were made on the way to it.

    Args:
        run: Of any job.
        settings: That it was made with.

    Returns:
        Those that its result.json speaks of, there or not, and others that are there.
    """
    result = run.read_result()
    found = [f"{_STAGES}/{number + 1}" for number in range(len(result.get("stages", ())))]
    models = [row.get("model", "").split("/") for row in result.get("front", ())]
    found += ["/".join(parts[-3:-1]) for parts in models if parts[-3:-2] == [_FRONT]]
    if result.get("job") == "tune" and result.get("status") == "done":
        found += [_PARENT] if settings.search.parent is None else []
    for folder in (_STAGES, _FRONT):
        found += [f"{folder}/{entry.base_name}" for entry in run.entries(folder)]
    found += [_PARENT] if run.exists(_PARENT) else []
    return [*dict.fromkeys(found)]
