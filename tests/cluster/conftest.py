"""Clusters of their own: nothing of this session's Ray is in the environment of their processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

_OF_THE_USER = {"RAY_TMPDIR", "RAY_USAGE_STATS_ENABLED"}


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Take away what `start_ray` has set for a Ray of this machine alone, if a test came before."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - _OF_THE_USER:
            if name.startswith(("RAY_", "MALLOC_")):
                patch.delenv(name)
        yield
