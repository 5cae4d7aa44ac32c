"""The file with a cluster's token: who holds the token can run code on the cluster.

python -m cluster.tokens PATH       # makes a new one
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path

from jobs import _runner
from qa_lib.errors import ConfigError

DEFAULT = "~/.ray/auth_token"
"""Where Ray looks for the token without RAY_AUTH_TOKEN_PATH."""


def path_of_token() -> Path:
    """Return the file that Ray reads the token from."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or DEFAULT).expanduser()


def create(path: Path) -> None:
    """Write a new token to a file that is readable by this user only from its first byte on.

    Raises:
        ConfigError: There is such a file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"There is a token in {path} already; clusters may have been started with it.",
            "Use it, name another path, or remove the file if no cluster uses it.",
        ) from None
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def check(path: Path) -> None:
    """Refuse a token that others can read or replace.

    Raises:
        ConfigError: The file belongs to another user, or group or others may read or write it.
    """
    status = path.stat()
    if status.st_uid not in (os.getuid(), 0):
        raise ConfigError(
            f"The cluster's token {path} belongs to another user of this machine.",
            f"Remove it, or set RAY_AUTH_TOKEN_PATH; `make cluster-up` makes {DEFAULT} anew.",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"The cluster's token {path} has mode {mode:04o}: other users of this machine can read "
            "it and run code on the cluster.",
            f"Run `chmod 600 {path}`; if others use this machine, stop the cluster, remove the "
            "file, and start the cluster with a new token.",
        )


def main() -> None:
    """Make the token that the command line names."""
    if len(sys.argv) != 2:
        raise ConfigError(
            "The command needs the file of the new token.",
            f"Name it: `python -m cluster.tokens {DEFAULT}`.",
        )
    create(Path(sys.argv[1]).expanduser())


if __name__ == "__main__":
    sys.exit(_runner.exit_code(main))
