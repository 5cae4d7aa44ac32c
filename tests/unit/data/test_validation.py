"""Which rows cannot be trusted: the vectorised checks against plain Python, row by row."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lib.data import SCHEMA, golds, places, validation
from qa_lib.data.columns import normalise

CONTEXT = "Zoë 🦊🦊 lives in São Tomé; \u202bשלום\u202c e\u0301."

END = len(CONTEXT)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return normalise(pa.Table.from_pylist(rows, SCHEMA), "rows")


def row(number: int, texts: Any, starts: Any, context: str | None = CONTEXT) -> dict[str, Any]:
    return {
        "id": f"q{number}",
        "title": "t",
        "context": context,
        "question": "?",
        "answers": {"text": texts, "answer_start": starts},
    }


def fault(**changes: Any) -> str | None:
    """Return what is wrong with the second of three rows, of which the others are good."""
    good = row(0, ["Zoë"], [0])
    found = validation.check(table([good, good | {"id": "q1"} | changes, good | {"id": "q2"}])).bad
    assert [number for number, _ in found] in ([], [1])
    return found[0][1] if found else None


@pytest.mark.parametrize("column", ["id", "context", "question"])
def test_a_null_field_is_a_fault(column):
    assert fault(**{column: None}) == f"the {column} is missing"


def test_null_answers_are_no_statement_that_there_are_none():
    assert fault(answers=None) == golds.NO_GOLD


@pytest.mark.parametrize(
    ("texts", "starts", "expected"),
    [
        (None, [0], golds.UNEVEN),
        (["Zoë"], None, None),
        ([None], [0], golds.EMPTY),
        (["Zoë", "Zoë"], [0, None], None),
        (["Zoë"], [], golds.UNEVEN),
        ([], [0], golds.UNEVEN),
        (["Zoë", ""], [0, 1], None),
        ([" "], [0], golds.EMPTY),
        (["Zoë", "Zoë"], [0, 1], None),
        (["zoë"], [0], golds.MISPLACED),
        (["Zoë"], [-1], None),
        (["Zoe"], [-1], golds.NOT_FOUND),
        (["."], [10_000], golds.MISPLACED),
        ([CONTEXT + "Zoë"], [0], golds.MISPLACED),
        ([CONTEXT, ".", "🦊 lives", "e", "\u0301"], [0, END - 1, 5, 10, END - 2], None),
        ([], [], None),
    ],
)
def test_answers_must_stand_where_they_say(texts, starts, expected):
    assert fault(answers={"text": texts, "answer_start": starts}) == expected


def test_an_offset_beyond_int32_is_the_fault_of_its_row():
    rows = pa.Table.from_pylist([row(0, ["Zoë"], [0]), row(1, ["Zoë"], [2**40])])
    assert [number for number, _ in validation.check(normalise(rows, "rows")).bad] == [1]


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0\u2028"])
def test_blank_texts_are_faults(blank):
    assert fault(question=blank) == "the question is empty"
    assert fault(context=blank) == "the context is empty"
    assert fault(id=blank) == "the id is empty"
    assert fault(title=blank) is None


def test_the_first_sound_row_of_an_id_is_kept():
    rows = [row(0, ["wrong"], [0]), row(0, ["Zoë"], [0]), row(1, [], []), row(0, [], [])]
    assert validation.check(table(rows)).bad == [
        (0, "an answer does not stand at its offset in the context"),
        (3, "another row has the same id"),
    ]


def stands(text: str, start: int, context: str) -> bool:
    """Whether a gold is sound: trimmed, at its offset or, without one, anywhere."""
    trimmed = text.strip(golds.OUTER)
    if not trimmed:
        return False
    if start < 0:
        return bool(places.find(trimmed, context))
    start += len(text) - len(text.lstrip(golds.OUTER))
    return context.startswith(trimmed, start) or bool(places.as_meant(trimmed, context, start))


texts = st.text(st.sampled_from("ab é🦊\u0301\u200b"), min_size=1, max_size=6)


@settings(max_examples=50)
@given(st.lists(st.tuples(texts, st.lists(st.tuples(texts, st.integers(-2, 7))))))
def test_offsets_are_checked_as_python_would(cases):
    rows = [
        row(number, [text for text, _ in answers], [start for _, start in answers], f"{context}.")
        for number, (context, answers) in enumerate(cases)
    ]
    expected = [
        number
        for number, (context, answers) in enumerate(cases)
        if any(text.strip(golds.OUTER) or start != -1 for text, start in answers)
        and not any(stands(text, start, f"{context}.") for text, start in answers)
    ]
    # Sliced and in several chunks, as tables are that were read from several files.
    whole = table([row(-1, ["wrong"], [0]), *rows])
    halves = pa.concat_tables([whole.slice(1, len(rows) // 2), whole.slice(1 + len(rows) // 2)])
    assert [number for number, _ in validation.check(halves).bad] == expected


def test_squad_sized_tables_are_checked_in_seconds():
    context = CONTEXT + "x" * 700
    answer = (["🦊 lives", "x" * 20], [5, 300])
    rows = [row(number, *answer, f"{number // 5} {context}") for number in range(5000)]
    shifted = [line | {"answers": {"text": answer[0], "answer_start": [0, 0]}} for line in rows]
    big = pa.concat_tables([table(shifted)] * 18)  # 90,000 rows, every one at fault
    start = time.process_time()
    assert len(validation.check(big).bad) == 90_000
    assert time.process_time() - start < 5  # 0.8 on a quick core
