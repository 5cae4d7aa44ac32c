"""Windows that only the teacher teaches: more questions than there are labels.

They come after the labelled windows, and both get a column `labelled`. The questions have no
answers by then, so that no label can be learnt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib import windows
from qa_lib.config import Settings, TrainSettings
from qa_lib.data import Questions, Unlabelled, load_unlabelled
from qa_lib.errors import TrainError
from qa_lib.training.dataset import WindowSet, tokenize

if TYPE_CHECKING:
    import torch

LABELLED = "labelled"


def check(train: TrainSettings) -> None:
    """Check that a teacher's logits teach what only a teacher can.

    Raises:
        TrainError: There is no teacher, or its logits do not count.
    """
    if train.teacher_only_source is not None and not (train.teacher and train.distill_weight):
        raise TrainError(
            "--train.teacher-only-source needs a teacher whose logits count: nothing else teaches"
            " these questions.",
            "Name one with --train.teacher, with a --train.distill-weight above 0; or leave it"
            " out.",
        )


def load(settings: Settings, labelled: Questions) -> Unlabelled | None:
    """Load the questions that only the teacher teaches, if the settings name some.

    Raises:
        DataError: They cannot be read, or none is left.
    """
    train = settings.train
    if train.teacher_only_source is None:
        return None
    found = load_unlabelled(
        settings.data, train.teacher_only_source, labelled, limit=train.teacher_only_limit
    )
    print(
        f"note: {len(found.questions):,} more questions of {train.teacher_only_source} for the"
        f" teacher alone; left out: {found.num_held_out:,} of held-out articles,"
        f" {found.num_known:,} that are trained on with their label.",
        file=sys.stderr,
    )
    return found


def joined(
    settings: Settings, labelled: WindowSet, num_labelled: int, unlabelled: Unlabelled
) -> tuple[WindowSet, dict[str, Any]]:
    """Add the windows of unlabelled questions to those of the labelled ones.

    Args:
        settings: Of the training.
        labelled: The labelled windows.
        num_labelled: Their questions.
        unlabelled: What `load` returned.

    Returns:
        All windows; and for result.json the counts of the added ones.
    """
    import ray

    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    questions = unlabelled.questions
    more = tokenize(
        questions.table, settings.model.name, spec, offsets=False, first_row=num_labelled
    )
    blocks = [
        ray.put(block)
        for each, is_labelled in ((labelled, True), (more, False))
        for block in marked(ray.get(each.blocks), is_labelled=is_labelled)
    ]
    facts = counts(unlabelled, more.num_windows, len(more.too_long))
    facts["teacher_only_fingerprint"] = questions.fingerprint
    whole = replace(
        labelled,
        blocks=blocks,
        starts=np.concatenate([labelled.starts, more.starts + labelled.num_windows]),
        lengths=np.concatenate([labelled.lengths, more.lengths]),
    )
    return whole, facts


def counts(unlabelled: Unlabelled, num_windows: int, num_too_long: int) -> dict[str, Any]:
    """Return the counts of unlabelled questions, as fields of result.json.

    Args:
        unlabelled: What `load` returned.
        num_windows: Of the questions.
        num_too_long: Of the questions, how many have no window.
    """
    return {
        "num_teacher_only_questions": len(unlabelled.questions) - num_too_long,
        "num_teacher_only_windows": num_windows,
        "num_teacher_only_held_out": unlabelled.num_held_out,
        "num_teacher_only_known": unlabelled.num_known,
    }


def marked(tables: Iterable[pa.Table], *, is_labelled: bool) -> list[pa.Table]:
    """Add to windows the column that says whether their labels teach."""
    return [
        table.append_column(LABELLED, pa.array(np.full(table.num_rows, is_labelled, np.int32)))
        for table in tables
    ]


def collate(table: pa.Table) -> dict[str, torch.Tensor]:
    """Return `labelled`, float32 of shape (windows,), where some windows are not."""
    import torch

    if LABELLED not in table.column_names:
        return {}
    return {LABELLED: torch.from_numpy(table[LABELLED].to_numpy().astype(np.float32))}
