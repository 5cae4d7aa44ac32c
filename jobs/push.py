"""Put a run's model on the Hugging Face hub, with its card.

    python -m jobs.push runs/mine --push.repo user/name
    python -m jobs.push runs/mine --push.repo user/name --dry-run

HF_TOKEN, or `hf auth login`, gives the token. A repository that is made is private, unless
--push.public is given.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def describe(settings: Settings) -> dict[str, Any]:
    """Return what would be written."""
    from qa_lib.models import push

    return push.preview(settings)


def run(settings: Settings) -> None:
    """Push the model, and say where it is."""
    from qa_lib.models import push

    missing = {"license", "language", "datasets"} - push.preview(settings)["card"].keys()
    if missing:
        print(
            f"note: the card names no {', no '.join(sorted(missing))}; --push.license and "
            "--push.language set the first two.",
            file=sys.stderr,
        )
    print(push.push(settings))


JOB = Job(
    "push",
    run,
    describe,
    has_run_folder=False,
    first_groups=("push",),
    first_flags=(
        "push.repo",
        "push.public",
        "push.license",
        "push.language",
    ),
    positional="--model.name",
)

if __name__ == "__main__":
    JOB.main()
