"""What a user can cause, and what to do about it.

Every error here carries two sentences: what is wrong, and the remedy. The job entry points print
both without a traceback and exit with code 2; anything else that escapes is a bug and exits 1.
"""

from __future__ import annotations

EXIT_USER_ERROR = 2


class UserError(Exception):
    """A problem that the user can fix.

    Args:
        problem: What is wrong, naming the setting, file or row that causes it.
        remedy: What to do about it, as an instruction.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        """Keep both halves, so that a caller can show them apart."""
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """Return both halves, the remedy indented on a line of its own."""
        return f"{self.problem}\n  {self.remedy}"

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        """Survive a process boundary: Ray pickles what a worker raises."""
        return type(self), (self.problem, self.remedy)


class ConfigError(UserError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(UserError):
    """Questions that cannot be found, read or trusted."""


class ModelError(UserError):
    """A model or tokenizer that cannot be found, read or used for question answering."""


class ResourceError(UserError):
    """A machine or cluster that cannot hold what was asked of it."""


class TrainError(UserError):
    """A training run that cannot go on as it is."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, incomplete or of another run."""


class AdjustError(UserError):
    """An adjustment that the model's architecture or configuration cannot express."""


class ExportError(UserError):
    """A model that another format cannot express as it is."""
