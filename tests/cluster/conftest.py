"""Clusters of their own: nothing of this session's Ray is in the environment of their processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import tiny_search

_OF_THE_USER = {"RAY_TMPDIR", "RAY_USAGE_STATS_ENABLED"}


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Take away what `start_ray` has set for a Ray of this machine alone, if a test came before."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - _OF_THE_USER:
            if name.startswith(("RAY_", "MALLOC_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="package")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return flags of a training job whose model is tiny: these tests are about machines."""
    parent = tiny_search.write_parent(tmp_path_factory.mktemp("quick"), ())
    return f"""--model.name {parent} --data.max-length 112 --data.stride 32 --train.precision fp32
        --train.attention sdpa --train.global-batch 8 --train.micro-batch 2""".split()
