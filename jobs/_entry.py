"""What every job's command does around its work: parse, run, report, exit code.

Exit codes: 0 done; 2 the user can fix it (one message, no traceback); 130 interrupted; 1 a bug.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from qa_lib import config
from qa_lib.config import Settings
from qa_lib.errors import EXIT_USER_ERROR, UserError

EXIT_BUG = 1
EXIT_INTERRUPTED = 130

_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # what Ray sets where a command was submitted as a job

# What libraries would report home, or print about themselves, unless the user has decided.
_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def main(job: str, body: Callable[[Settings], None]) -> NoReturn:
    """Run a job's command to its exit code.

    Args:
        job: Name of the job, as in ``python -m jobs.NAME``.
        body: Does the work; it imports torch, ray and transformers itself, so that ``--help`` and
            wrong settings are answered before they load.
    """
    quiet_libraries()
    sys.exit(exit_code(job, body))


def quiet_libraries() -> None:
    """Set what libraries read of their environment, before they are imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if _SUBMITTED in os.environ:
        # Inherited from Ray's supervisor of the command, which reserves no CPU: one thread for all
        # that the driver computes itself.
        os.environ.pop("OMP_NUM_THREADS", None)


def exit_code(job: str, body: Callable[[Settings], None]) -> int:
    """Parse the command line, run the body, and return the exit code."""
    try:
        body(config.parse(job, description=sys.modules["__main__"].__doc__))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        cause = user_error(error)
        if cause is None:
            traceback.print_exc()
            return EXIT_BUG
        print(f"error: {cause.problem}\n  {cause.remedy}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


def user_error(error: BaseException | None) -> UserError | None:
    """Return the UserError behind an exception, which Ray may have wrapped, or None.

    Ray tasks keep what a worker raised in `cause`, Ray Train in `worker_failures`.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        if isinstance(error, UserError):
            return error
        waiting += [getattr(error, "cause", None), error.__cause__]
        waiting += list(getattr(error, "worker_failures", {}).values())
    return None
