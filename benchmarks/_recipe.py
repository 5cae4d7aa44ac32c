"""The standard recipe's preparation of training features: what `run_qa.py` of transformers does.

Restated from its description: the fast tokenizer on (question, context) pairs through
`datasets.map`, then a scan of every window for its labels.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import datasets
import pyarrow as pa

from qa_lib import windows


def standard_recipe(
    questions: pa.Table, tokenizer: Any, spec: windows.WindowSpec, padding: bool | str
) -> pa.Table:
    """Prepare training features as the question-answering example does.

    Args:
        questions: Of the SQuAD schema.
        tokenizer: Fast.
        spec: Window length and stride.
        padding: False, or `max_length`.

    Returns:
        `input_ids`, `attention_mask`, `token_type_ids`, `start_positions`, `end_positions`: a row
        per window.
    """
    prepare = partial(prepare_features, tokenizer=tokenizer, spec=spec, padding=padding)
    features = datasets.Dataset(questions).map(
        prepare,
        batched=True,
        remove_columns=questions.column_names,
        keep_in_memory=True,
        load_from_cache_file=False,
    )
    return features.data.table


def prepare_features(
    examples: dict[str, list], tokenizer: Any, spec: windows.WindowSpec, padding: bool | str
) -> dict[str, list]:
    """Tokenise a batch of pairs, and scan every window for its labels."""
    features = tokenizer(
        examples["question"],
        examples["context"],
        truncation="only_second",
        max_length=spec.max_length,
        stride=spec.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=padding,
    )
    samples = features.pop("overflow_to_sample_mapping")
    offset_mapping = features.pop("offset_mapping")
    features["start_positions"], features["end_positions"] = [], []
    for i, offsets in enumerate(offset_mapping):
        start, end = scan(
            offsets,
            features.sequence_ids(i),
            features["input_ids"][i].index(tokenizer.cls_token_id),
            examples["answers"][samples[i]],
        )
        features["start_positions"].append(start)
        features["end_positions"].append(end)
    return features


def scan(
    offsets: list[tuple[int, int]], sequence_ids: list[int | None], cls: int, answers: dict
) -> tuple[int, int]:
    """Find an answer's tokens from both ends of a window."""
    if not answers["answer_start"]:
        return cls, cls
    start_char = answers["answer_start"][0]
    end_char = start_char + len(answers["text"][0])
    start, end = 0, len(offsets) - 1
    while sequence_ids[start] != 1:
        start += 1
    while sequence_ids[end] != 1:
        end -= 1
    if not (offsets[start][0] <= start_char and offsets[end][1] >= end_char):
        return cls, cls
    while start < len(offsets) and offsets[start][0] <= start_char:
        start += 1
    while offsets[end][1] >= end_char:
        end -= 1
    return start - 1, end + 1
