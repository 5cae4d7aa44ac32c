"""A teacher's pass that was interrupted goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qa_lib.runs.folder import Folder
from qa_lib.training import teacher

SIZES = [3, 2, 4]


def part(num_windows: int) -> pa.Table:
    lists = pa.array([[1.0, 2.0]] * num_windows, pa.list_(pa.float16()))
    return pa.table([lists, lists], schema=teacher._LOGITS)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a cache whose pass was ended after two of three parts."""
    folder = Folder(str(tmp_path / "cache"))
    cache = teacher._Cache(folder, SIZES)
    assert cache.read() == []
    for size in SIZES[:2]:
        cache.add(part(size))
    return folder


def test_stored_parts_are_found_and_the_rest_is_added_to_them(folder: Folder):
    cache = teacher._Cache(folder, SIZES)
    assert [found.num_rows for found in cache.read()] == SIZES[:2]
    cache.add(part(SIZES[2]))
    again = teacher._Cache(folder, SIZES).read()
    assert pa.concat_tables(again).num_rows == sum(SIZES)
    assert np.float16(2.0) == again[2][teacher.END][0][1].as_py()


def test_parts_that_are_damaged_or_cut_otherwise_are_computed_again(folder: Folder):
    assert teacher._Cache(folder, [2, 3, 4]).read() == []
    path = Path(folder.path, "part-00000.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    cache = teacher._Cache(folder, SIZES)
    assert cache.read() == []
    cache.add(part(SIZES[0]))
    assert [found.num_rows for found in teacher._Cache(folder, SIZES).read()] == SIZES[:1]
