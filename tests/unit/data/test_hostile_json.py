"""JSON that is nested too deeply, or holds endless numbers, is refused by name."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib.data import json_files
from qa_lib.errors import DataError
from qa_lib.evaluation import metrics

DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 10_000
ROW = '{"id": "a", "question": "Who?", "context": "Ann."}\n'


@pytest.mark.parametrize("value", [DEEP, DIGITS])
@pytest.mark.parametrize(
    "form",
    [
        '{"id": "a", "x": VALUE}\n',
        ROW + '{"id": "a", "context": VALUE}\n',
        "VALUE",
        '{"data": VALUE}',
    ],
)
def test_hostile_json_is_refused(form: str, value: str):
    with pytest.raises(DataError, match="mine") as caught:
        json_files.read(pa.py_buffer(form.replace("VALUE", value).encode()), "mine.json")
    assert caught.value.remedy


@pytest.mark.parametrize("value", [DEEP, DIGITS, '{"a": ' + DEEP + "}"])
def test_hostile_predictions_are_refused(value: str):
    with pytest.raises(DataError, match=r"predictions\.json"):
        metrics.parse_predictions(value, "predictions.json")


@given(st.binary(max_size=60) | st.text('{}[]":,1e-dat\n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes):
    try:
        json_files.read(pa.py_buffer(content), "mine.json")
    except DataError as error:
        assert error.remedy
