"""Models: where they come from, how they are read and written, and their sizes."""

from __future__ import annotations

from qa_lib.models.loading import (
    build,
    check_answers,
    fingerprint,
    has_answering_head,
    is_ragged,
    load,
    load_config,
    load_empty,
    load_tokenizer,
    quiet,
    save,
)
from qa_lib.models.sizes import (
    check_length,
    describe,
    maximum_length,
    num_matrix_parameters,
    num_parameters,
    num_stored_parameters,
    positions_follow_padding,
)
from qa_lib.models.sources import resolve

__all__ = [
    "build",
    "check_answers",
    "check_length",
    "describe",
    "fingerprint",
    "has_answering_head",
    "is_ragged",
    "load",
    "load_config",
    "load_empty",
    "load_tokenizer",
    "maximum_length",
    "num_matrix_parameters",
    "num_parameters",
    "num_stored_parameters",
    "positions_follow_padding",
    "quiet",
    "resolve",
    "save",
]
