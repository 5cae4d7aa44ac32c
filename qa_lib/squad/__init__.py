"""Questions: from a name (hub id, file, folder, URL, `embedded`) to one validated Arrow table.

    questions = squad.load(settings.data, "train")
    questions.table    # columns of SCHEMA; answers lie at their offsets, ids are unique

Rows that cannot be trusted are quarantined with their reason and counted; too many stop the run.
"""

from __future__ import annotations

from qa_lib.squad.questions import Questions, Split, load, load_all, load_held_out, splits
from qa_lib.squad.schema import SCHEMA, fingerprint
from qa_lib.squad.shards import context_edges, read_manifest, write_shards

__all__ = [
    "SCHEMA",
    "Questions",
    "Split",
    "context_edges",
    "fingerprint",
    "load",
    "load_all",
    "load_held_out",
    "read_manifest",
    "splits",
    "write_shards",
]
