"""What a training benchmark trains: the questions of the settings, cut into windows and planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from qa_lib import model as models
from qa_lib import squad, train, windows

if TYPE_CHECKING:
    import pyarrow as pa

    from qa_lib.config import Settings
    from qa_lib.plan import BatchPlan
    from qa_lib.squad import Questions


class Work(NamedTuple):
    """Questions, their windows, and which of these make up which step."""

    questions: Questions
    table: pa.Table
    plan: BatchPlan
    tokenizer: Any
    spec: windows.WindowSpec


def prepare(settings: Settings) -> Work:
    """Load, cut and plan as the job does, in this process."""
    questions = squad.load(settings.data, "train")
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    table = windows.build(questions.table, tokenizer, spec, characters=False).table
    plan = train.plan_of(settings, windows.lengths(table))
    return Work(questions, table, plan, tokenizer, spec)
