"""What the Hugging Face hub's refusals mean to a user who wanted to read something."""

from __future__ import annotations

from qa_lib.runs.storage import first_line

_LOG_IN = "set HF_TOKEN to a token that may read it, or run `hf auth login`."


PRIVATE = "If it is private: set HF_TOKEN."
"""For the remedy where the hub says that something is not there."""


def refusal(error: BaseException | None, what: str) -> tuple[str, str] | None:
    """Return cause and remedy where the hub refuses a user, else None.

    Args:
        error: Of huggingface_hub, or of a library that raised its own from one.
        what: Names what was asked for: "model NAME".
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return (
            f"The hub does not let this user read the {what}: it is gated.",
            f"Accept its terms on its page at the hub; {_LOG_IN}",
        )
    if isinstance(error, RepositoryNotFoundError):  # with 401 too, for whoever has no token
        return None
    if error is not None and error.response.status_code in (401, 403):
        return (
            f"The hub does not let this user read the {what}: {first_line(error)}",
            f"{_LOG_IN[0].upper()}{_LOG_IN[1:]}",
        )
    return None
