"""Errors that a user can fix.

Each consists of a problem and its remedy. Jobs print these two lines without a traceback and exit
with code 2; any other exception is a bug and exits with 1.
"""

from __future__ import annotations

from collections.abc import Iterator

EXIT_USER_ERROR = 2


class UserError(Exception):
    """A problem that the user can fix.

    Args:
        problem: What is wrong, with the name of the setting, file or row.
        remedy: What to do, as an instruction.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        """Keep both parts, so that a caller can show them separately."""
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the problem, and the remedy indented on a second line."""
        return f"{self.problem}\n  {self.remedy}"

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        """Pickle both parts: Ray sends the errors of workers to the driver."""
        return type(self), (self.problem, self.remedy)


class ConfigError(UserError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(UserError):
    """Questions that are missing, unreadable or faulty."""


class ModelError(UserError):
    """A model or tokenizer that is missing, unreadable or not for question answering."""


class ResourceError(UserError):
    """A machine or cluster that is too small for the settings, or not reachable."""


class TrainError(UserError):
    """A training run that cannot continue."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, incomplete or from another run."""


class AdjustError(UserError):
    """An adjustment that the model's architecture or configuration does not allow."""


class ExportError(UserError):
    """A model that the target format cannot represent."""


def causes(error: BaseException, *, contexts: bool = False) -> Iterator[BaseException]:
    """Yield an exception and those behind it, of the workers of Ray too, the nearest first.

    Args:
        error: Raised.
        contexts: Whether those count that were being handled when another was raised.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        inner = getattr(each, "cause", None)  # of a task: its wrapper repeats type and traceback
        if not isinstance(inner, BaseException):
            inner = None
            yield each
        waiting += [inner, each.__cause__ or (each.__context__ if contexts else None)]
        waiting += list(getattr(each, "worker_failures", {}).values())  # of Ray Train
        waiting.append(getattr(each, "controller_failure", None))
