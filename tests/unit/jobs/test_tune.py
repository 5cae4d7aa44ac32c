"""What `jobs.tune` refuses before it searches, because its end would refuse it."""

from __future__ import annotations

import pytest

import jobs.tune
from qa_lib import config
from qa_lib.errors import ConfigError


def test_a_source_for_the_teacher_alone_needs_logits_that_count():
    flags = ["--train.teacher-only-source", "more.jsonl", "--search.space.distill-weight"]
    with pytest.raises(ConfigError, match="whose logits count"):
        jobs.tune.complete(config.parse("tune", [*flags, "0", "1"]))
    jobs.tune.complete(config.parse("tune", [*flags, "0.25", "1"]))
