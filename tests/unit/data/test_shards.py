"""Prepared folders: what was written is what is read, or the shard that is not is named."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib.config import DataSettings
from qa_lib.data import (
    SCHEMA,
    Questions,
    Split,
    load_questions,
    splits_of,
    write_shards,
)
from qa_lib.data.shards import context_edges, read_manifest
from qa_lib.errors import DataError
from qa_lib.runs.folder import Folder


def questions(num_rows: int, split: Split = "train", rows_per_context: int = 4) -> Questions:
    rows = [
        {
            "id": f"{split}{number}",
            "title": f"article {number // 20}",
            "context": f"This is passage {number // rows_per_context}. Ada met Bo in Ghent.",
            "question": "Who is first?",
            "answers": {"text": ["This"], "answer_start": [0]},
        }
        for number in range(num_rows)
    ]
    return Questions(pa.Table.from_pylist(rows, SCHEMA), split, "source")


def load(folder: Path | str, split: Split = "train", **settings: Any) -> Questions:
    return load_questions(DataSettings(source=str(folder), **settings), split)


def names(manifest: dict[str, Any], split: str) -> list[str]:
    return [shard["name"] for shard in manifest["splits"][split]["shards"]]


def test_a_prepared_folder_gives_back_both_splits(tmp_path):
    train, dev = questions(100), questions(30, "eval")
    manifest = write_shards([train, dev], str(tmp_path), rows_per_shard=25)
    assert manifest == read_manifest(Folder(str(tmp_path)))
    assert names(manifest, "train") == [f"train-{n:05d}-of-00004.parquet" for n in range(4)]
    assert names(manifest, "eval") == ["dev-00000-of-00002.parquet", "dev-00001-of-00002.parquet"]
    for written, split in ((train, "train"), (dev, "eval")):
        read = load(tmp_path, split)
        assert read.table.equals(written.table)
        assert read.fingerprint == written.fingerprint == manifest["splits"][split]["fingerprint"]
        assert sum(shard["num_rows"] for shard in manifest["splits"][split]["shards"]) == len(read)
    assert len(load(tmp_path, train_limit=7)) == 7
    assert splits_of(DataSettings(source=str(tmp_path))) == ("train", "eval")


def test_a_url_is_as_good_as_a_path():
    train = questions(40)
    write_shards([train], "memory://prepared/data", rows_per_shard=10)
    assert load("memory://prepared/data").table.equals(train.table)


def test_the_same_questions_give_the_same_bytes(tmp_path):
    first, second = (
        write_shards([questions(100)], str(tmp_path / name), rows_per_shard=30)
        for name in ("a", "b")
    )
    assert first == second


def test_rows_of_a_context_stay_in_one_shard(tmp_path):
    manifest = write_shards([questions(100, rows_per_context=7)], str(tmp_path), 10)
    seen: set[str] = set()
    for name in names(manifest, "train"):
        contexts = set(pq.read_table(tmp_path / name)["context"].to_pylist())
        assert not contexts & seen
        seen |= contexts
    assert len(names(manifest, "train")) == 10


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 20))
def test_shards_part_the_rows_near_equal_shares(runs, rows_per_shard):
    contexts = [f"c{number}" for number, length in enumerate(runs) for _ in range(length)]
    edges = context_edges(pa.chunked_array([contexts]), rows_per_shard)
    assert edges[0] == 0 and edges[-1] == len(contexts)
    assert all(begin < end for begin, end in pairwise(edges))
    assert all(contexts[edge - 1] != contexts[edge] for edge in edges[1:-1])
    assert max(end - begin for begin, end in pairwise(edges)) < rows_per_shard + max(runs)


def test_a_second_writing_leaves_nothing_of_the_first(tmp_path):
    write_shards([questions(100), questions(20, "eval")], str(tmp_path), 10)
    (tmp_path / "notes.txt").write_text("mine")
    write_shards([questions(30)], str(tmp_path), 10)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [
        "manifest.json",
        "notes.txt",
        *(f"train-0000{n}-of-00003.parquet" for n in "012"),
    ]


@pytest.fixture
def prepared(tmp_path) -> Path:
    write_shards([questions(100)], str(tmp_path), rows_per_shard=25)
    return tmp_path


def refusal(folder: Path, split: Split = "train") -> str:
    with pytest.raises(DataError) as caught:
        load(folder, split)
    return str(caught.value)


def test_a_truncated_shard_is_named(prepared):
    shard = prepared / "train-00002-of-00004.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    message = refusal(prepared)
    assert f"{shard} is truncated" in message and "jobs.prepare" in message


def test_a_changed_shard_is_named(prepared):
    shard = prepared / "train-00001-of-00004.parquet"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    assert f"{shard} is not the file that was written" in refusal(prepared)


def test_a_missing_shard_is_named(prepared):
    shard = prepared / "train-00003-of-00004.parquet"
    shard.unlink()
    assert f"{shard} is missing" in refusal(prepared)


def test_a_split_that_was_not_prepared_is_an_error(prepared):
    assert "without eval questions; it holds train" in refusal(prepared, "eval")


def test_a_manifest_is_damaged_of_another_version_or_of_another_program(prepared):
    manifest = prepared / "manifest.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(manifest.read_text()[:-20])
    assert "manifest.json is damaged" in refusal(prepared)
    manifest.write_text(json.dumps(document | {"schema_version": 99}))
    assert "schema version 99" in refusal(prepared)
    manifest.write_text(json.dumps({"name": "a web app"}))
    assert read_manifest(Folder(str(prepared))) is None
    assert len(load(prepared)) == 100  # as a folder of plain shards


def test_a_changed_manifest_is_named(prepared):
    manifest = prepared / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_rows": 100', '"num_rows": 101'))
    assert "manifest.json is damaged: its SHA-256 differs" in refusal(prepared)


def test_a_folder_that_release_0_1_prepared_is_read_and_verified(prepared):
    """Its manifest had the same splits, without `files` and without a hash of its own."""
    manifest = prepared / "manifest.json"
    document = json.loads(manifest.read_text())
    old = {key: document[key] for key in ("format", "schema_version", "splits")}
    manifest.write_text(json.dumps(old, indent=2) + "\n")
    assert read_manifest(Folder(str(prepared))) == old
    assert load(prepared).table.equals(questions(100).table)
    shard = prepared / "train-00002-of-00004.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"{shard} is truncated" in refusal(prepared)
    write_shards([questions(10)], str(prepared))
    assert sorted(path.name for path in prepared.iterdir()) == [
        "manifest.json",
        "train-00000-of-00001.parquet",
    ]


def test_a_folder_without_manifest_is_not_prepared(tmp_path):
    assert read_manifest(Folder(str(tmp_path))) is None
    assert read_manifest(Folder(str(tmp_path / "nowhere"))) is None
