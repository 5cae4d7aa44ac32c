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
    set_dropout,
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
from qa_lib.models.threshold import (
    ANSWERING,
    keep_no_answer_threshold,
    no_answer_threshold,
    num_threshold_questions,
)

__all__ = [
    "ANSWERING",
    "build",
    "check_answers",
    "check_length",
    "describe",
    "fingerprint",
    "has_answering_head",
    "is_ragged",
    "keep_no_answer_threshold",
    "load",
    "load_config",
    "load_empty",
    "load_tokenizer",
    "maximum_length",
    "no_answer_threshold",
    "num_matrix_parameters",
    "num_parameters",
    "num_stored_parameters",
    "num_threshold_questions",
    "positions_follow_padding",
    "quiet",
    "resolve",
    "save",
    "set_dropout",
]
