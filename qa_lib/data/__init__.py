"""Questions: from a name (hub id, file, folder, URL, `embedded`) to one validated Arrow table.

    questions = load_questions(settings.data, "train")
    questions.table    # columns of SCHEMA; answers lie at their offsets, ids are unique

Faulty rows are quarantined: left out, counted, and written to a file with the reason. Too many of
them stop the run.
"""

from __future__ import annotations

from qa_lib.data.loading import (
    is_known,
    is_on_hub,
    is_table,
    load_held_out,
    load_questions,
    load_splits,
    read_questions,
    source_of,
    splits_of,
)
from qa_lib.data.schema import SCHEMA, Questions, Split, fingerprint
from qa_lib.data.shards import context_edges, write_shards
from qa_lib.data.unlabelled import Unlabelled, load_unlabelled

__all__ = [
    "SCHEMA",
    "Questions",
    "Split",
    "Unlabelled",
    "context_edges",
    "fingerprint",
    "is_known",
    "is_on_hub",
    "is_table",
    "load_questions",
    "load_splits",
    "load_unlabelled",
    "load_held_out",
    "read_questions",
    "source_of",
    "splits_of",
    "write_shards",
]
