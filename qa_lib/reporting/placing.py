"""Where a page goes: into a run folder, or a folder of runs."""

from __future__ import annotations

from qa_lib.errors import ConfigError
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder


def place(folder: RunFolder, name: str, html: str) -> str:
    """Write a page, and return its path or URL.

    Raises:
        ConfigError: The folder cannot be written.
    """
    try:
        folder.write_text(name, html)
    except OSError as error:
        raise ConfigError(
            f"{folder.url(name)} cannot be written: {storage.first_line(error)}",
            "Make room there, or name a folder that this user may write.",
        ) from None
    return folder.url(name)
