"""A folder of Parquet shards with a manifest: written once, verified whenever it is read.

    train-00000-of-00018.parquet ... dev-00001-of-00002.parquet  manifest.json (written last)

Rows of one context stay in one shard, so that each shard tokenises its contexts once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from qa_lib.data.files import Place, parquet
from qa_lib.errors import DataError
from qa_lib.runs import storage
from qa_lib.runs.progress import QUIET_S, Progress

if TYPE_CHECKING:
    from qa_lib.data.schema import Questions

MANIFEST = "manifest.json"
FORMAT = "squad-shards"
SCHEMA_VERSION = 1
FILE_PREFIXES = {"train": "train", "eval": "dev"}
_AGAIN = "Write the folder again with jobs.prepare, or copy it again."


def write_shards(
    splits: Sequence[Questions], directory_url: str, rows_per_shard: int = 5000
) -> dict[str, Any]:
    """Write splits as Parquet shards, then the manifest that makes them a prepared folder.

    Args:
        splits: The questions of `train`, of `eval`, or of both.
        directory_url: Local folder or URL; what an earlier manifest there lists is replaced.
        rows_per_shard: At most, but for the rows that keep the last context of a shard whole.

    Returns:
        The manifest: `format`, `schema_version`, and in `splits` for each of them `source`,
        `num_rows`, `fingerprint` and `shards` (`name`, `num_rows`, `num_bytes`, `sha256`).
    """
    folder = Place.of(directory_url)
    _remove(folder)
    manifest: dict[str, Any] = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "splits": {}}
    for questions in splits:
        manifest["splits"][questions.split] = {
            "source": questions.source,
            "num_rows": len(questions),
            "fingerprint": questions.fingerprint,
            "shards": _write_split(questions, folder, rows_per_shard),
        }
    file = folder.child(MANIFEST)
    storage.write_text(file.filesystem, file.path, json.dumps(manifest, indent=2) + "\n")
    return manifest


def _write_split(
    questions: Questions, folder: Place, rows_per_shard: int
) -> list[dict[str, str | int]]:
    edges = context_edges(questions.table["context"], rows_per_shard)
    shards: list[dict[str, str | int]] = []
    title = f"writing {questions.split}"
    with Progress(len(questions), "questions", title, quiet_s=QUIET_S) as progress:
        for index, (begin, end) in enumerate(pairwise(edges)):
            name = f"{FILE_PREFIXES[questions.split]}-{index:05d}-of-{len(edges) - 1:05d}.parquet"
            content = _to_parquet(questions.table.slice(begin, end - begin))
            folder.child(name).write_bytes(content)
            shards.append(
                {
                    "name": name,
                    "num_rows": end - begin,
                    "num_bytes": content.size,
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            )
            progress.update(end)
    return shards


def read_manifest(directory_url: str) -> dict[str, Any] | None:
    """Return the manifest of a prepared folder, or None if the folder is none.

    Raises:
        DataError: The manifest is damaged, or of a later version of this suite.
    """
    return manifest_of(Place.of(directory_url))


def manifest_of(folder: Place) -> dict[str, Any] | None:
    """Do what `read_manifest` says, for a folder that is already found."""
    file = folder.child(MANIFEST)
    if file.kind() != fs.FileType.File:
        return None
    try:
        manifest = json.loads(file.read_bytes().to_pybytes())
    except ValueError:
        raise DataError(f"{file.name} is damaged: it is not JSON.", _AGAIN) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return None  # some other program's
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{file.name} is of schema version {manifest.get('schema_version')}; "
            f"this release reads version {SCHEMA_VERSION}.",
            "Write the folder again with this release's jobs.prepare.",
        )
    return manifest


def read_shards(folder: Place, manifest: dict[str, Any], split: str) -> list[tuple[str, pa.Table]]:
    """Read the shards of a split, each verified before it is parsed.

    Returns:
        (name, table as `schema.conform` leaves it) of each shard.

    Raises:
        DataError: The split is absent, or a shard is missing, truncated or changed; it is named.
    """
    if split not in manifest["splits"]:
        raise DataError(
            f"{folder.name} was prepared without {split} questions; "
            f"it holds {', '.join(manifest['splits'])}.",
            "Prepare it from a source that has them, or name them with --data.eval-source.",
        )
    parts = []
    for shard in manifest["splits"][split]["shards"]:
        file = folder.child(shard["name"])
        if file.kind() != fs.FileType.File:
            raise DataError(f"The shard {file.name} is missing.", _AGAIN)
        content = file.read_bytes()
        if content.size < shard["num_bytes"]:
            raise DataError(
                f"The shard {file.name} is truncated: {content.size:,} of "
                f"{shard['num_bytes']:,} bytes.",
                _AGAIN,
            )
        if hashlib.sha256(content).hexdigest() != shard["sha256"]:
            raise DataError(f"The shard {file.name} is not the one that was written.", _AGAIN)
        parts.append((file.name, parquet(content, file.name)))
    return parts


def _remove(folder: Place) -> None:
    """Delete an earlier manifest and its shards, the manifest first: a folder is whole or none."""
    manifest = manifest_of(folder)
    if manifest is None:
        return
    shards = [shard["name"] for split in manifest["splits"].values() for shard in split["shards"]]
    for name in (MANIFEST, *shards):
        folder.child(name).delete()


def context_edges(contexts: pa.ChunkedArray, rows_per_shard: int) -> list[int]:
    """Return where to cut questions so that each context stays whole and is tokenised once.

    Args:
        contexts: The column of contexts, those of an article in a row.
        rows_per_shard: About how many rows a part should have.

    Returns:
        Row numbers from 0 to the end: the changes of context nearest to equal shares.
    """
    num_rows = len(contexts)
    changed = pc.not_equal(contexts.slice(1), contexts.slice(0, num_rows - 1))
    edges = np.concatenate([[0], np.flatnonzero(changed.to_numpy()) + 1, [num_rows]])
    num_shards = -(-num_rows // rows_per_shard)
    targets = np.arange(1, num_shards) * num_rows / num_shards
    after = np.searchsorted(edges, targets)
    nearer = np.where(
        targets - edges[after - 1] < edges[after] - targets, edges[after - 1], edges[after]
    )
    return np.unique(np.concatenate([[0], nearer, [num_rows]])).tolist()


def _to_parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
