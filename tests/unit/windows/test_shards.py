"""Windows on storage: cut once, found again, and never read damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qa_lib import windows
from qa_lib.config import DataSettings
from qa_lib.data import load_questions
from qa_lib.errors import DataError
from qa_lib.models import load_tokenizer
from qa_lib.runs.manifest import MANIFEST
from qa_lib.training import dataset
from qa_lib.training.sources import content_sha256
from qa_lib.windows import shards

SPEC = windows.WindowSpec(96, 32)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded")


@pytest.fixture(scope="module")
def blocks() -> list[pa.Table]:
    table = load_questions(DataSettings(train_limit=60), "train").table
    table = table.append_column("row", pa.array(np.arange(len(table), dtype=np.int32)))
    return [table.slice(0, 25), table.slice(25)]


@pytest.fixture
def stored(tmp_path: Path, blocks, tokenizer) -> list[shards.Shard]:
    return [store(tmp_path, block, tokenizer) for block in blocks]


def cut(block: pa.Table, tokenizer) -> pa.Table:
    return windows.build(block, tokenizer, SPEC, characters=False).table


def store(storage: Path, block: pa.Table, tokenizer, cuts=None) -> shards.Shard:
    def make():
        if cuts is not None:
            cuts.append(block)
        return cut(block, tokenizer), [7]

    return shards.store(shards.place_of(str(storage), block, tokenizer, SPEC), make)


def test_the_same_questions_are_cut_once(tmp_path, blocks, tokenizer):
    cuts: list[pa.Table] = []
    first = store(tmp_path, blocks[0], tokenizer, cuts=cuts)
    assert store(tmp_path, blocks[0], tokenizer, cuts=cuts) == first
    assert len(cuts) == 1 and first.too_long == [7]
    places = {
        shards.place_of(str(tmp_path), block, tokenizer, spec)
        for block, spec in [
            (blocks[0], SPEC),
            (blocks[1], SPEC),
            (blocks[0].slice(1), SPEC),
            (blocks[0], windows.WindowSpec(96, 16)),
        ]
    }
    assert first.location in places and len(places) == 4


def test_a_shard_without_its_manifest_is_made_again(tmp_path, blocks, tokenizer):
    first = store(tmp_path, blocks[0], tokenizer)
    Path(first.location, MANIFEST).unlink()
    cuts: list[pa.Table] = []
    assert store(tmp_path, blocks[0], tokenizer, cuts=cuts) == first
    assert len(cuts) == 1


def test_shards_give_the_windows_and_the_hash_that_tables_give(stored, blocks, tokenizer):
    tables = [cut(block, tokenizer) for block in blocks]
    sizes = [table.num_rows for table in tables]
    starts = np.array([0, sizes[0]])
    indices = np.random.default_rng(0).integers(0, sum(sizes), 40)
    found = dataset.take(dataset.fetch(stored, [0, 1]), starts, indices)
    assert found.to_pylist() == dataset.take(tables, starts, indices).to_pylist()
    assert content_sha256(stored) == content_sha256(tables)
    lengths = np.concatenate([shard.lengths() for shard in stored])
    assert lengths.tolist() == [n for table in tables for n in table["length"].to_pylist()]


@pytest.mark.parametrize("name", ["windows.parquet", "lengths.parquet"])
def test_a_damaged_shard_is_refused_with_what_to_do(stored, name):
    path = Path(stored[1].location, name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=name) as caught:
        stored[1].take(pa.array([0])) if name.startswith("windows") else stored[1].lengths()
    assert "Delete that folder" in caught.value.remedy
