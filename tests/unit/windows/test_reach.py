"""Golds out of reach are counted: longer than an answer may be, or than every window."""

from __future__ import annotations

import pyarrow as pa

from qa_lib import models, windows
from qa_lib.data import SCHEMA

WORDS = [f"w{number % 10}" for number in range(400)]
CONTEXT = " ".join(WORDS)


def row(number: int, *num_words: int) -> dict[str, object]:
    golds = [" ".join(WORDS[:count]) for count in num_words]
    return {
        "id": str(number),
        "title": "T",
        "context": CONTEXT,
        "question": "which?",
        "answers": {"text": golds, "answer_start": [0] * len(golds)},
    }


def test_the_shortest_gold_decides():
    # Two tokens a word. The long gold of the second row does not matter, its short one is in reach.
    rows = [row(0, 2), row(1, 200, 3), row(2, 20), row(3, 200), row(4)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    spec = windows.WindowSpec(max_length=64, stride=16)
    tokenizer = models.load_tokenizer("embedded")
    assert windows.count_unreachable(table, tokenizer, spec, 30) == {
        "num_golds_too_long": 1,
        "num_golds_in_no_window": 1,
    }
    assert windows.count_unreachable(table.slice(0, 2), tokenizer, spec, 30) == {
        "num_golds_too_long": 0,
        "num_golds_in_no_window": 0,
    }
