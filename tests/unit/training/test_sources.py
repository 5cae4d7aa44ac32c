"""Fingerprints of what a run is trained from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from qa_lib import windows
from qa_lib.config import Settings
from qa_lib.data import embedded
from qa_lib.errors import CheckpointError
from qa_lib.training import sources
from tests.support import tiny


@pytest.fixture(scope="module")
def table() -> pa.Table:
    questions = embedded.corpus("train").slice(0, 40)
    spec = windows.WindowSpec(64, 16)
    return windows.build(questions, tiny.make_tokenizer(), spec, characters=False).table


def test_windows_are_the_same_in_any_blocks(table: pa.Table):
    whole = sources.content_sha256([table])
    assert sources.content_sha256([table.slice(0, 7), table.slice(7)]) == whole


@pytest.mark.parametrize("column", ["start", "input_ids", "row"])
def test_a_change_of_one_number_changes_the_fingerprint(table: pa.Table, column: str):
    values = table[column].to_pylist()
    if isinstance(values[-1], list):
        values[-1][-1] += 1
    else:
        values[-1] += 1
    changed = pa.array(values, table[column].type)
    other = table.set_column(table.schema.get_field_index(column), column, changed)
    assert sources.content_sha256([other]) != sources.content_sha256([table])


def test_a_checkpoint_of_other_content_is_refused_and_an_old_one_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = Settings()
    now = {"windows": "a", "model": "b"}
    sources.refuse_others("step-1", {sources.SOURCES: now}, now, settings)
    sources.refuse_others("step-1", {}, now, settings)
    assert "did not record the content" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="--model.name embedded changed"):
        sources.refuse_others("step-1", {sources.SOURCES: now | {"model": "c"}}, now, settings)
