"""A folder of Parquet shards with a manifest: written once, verified whenever it is read.

    train-00000-of-00018.parquet ... dev-00001-of-00002.parquet  manifest.json (written last)

Rows of one context stay in one shard, so that each shard tokenises its contexts once. A gold at -1
has no place: it was looked for before it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data import containers
from qa_lib.data.files import naming
from qa_lib.data.schema import NOWHERE, UNCHECKED
from qa_lib.errors import DataError
from qa_lib.runs import json_text, manifest
from qa_lib.runs.folder import Damaged, Folder, StoredFile
from qa_lib.runs.progress import QUIET_S, Progress

if TYPE_CHECKING:
    from qa_lib.data.schema import Questions

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
        The manifest's own fields: `format`, `schema_version`, and in `splits`, by split, `source`,
        `num_rows`, `fingerprint` and `shards` (`name`, `num_bytes`, `sha256`, `num_rows`).
    """
    folder = Folder(directory_url)
    with naming(directory_url):
        _remove(folder)
    fields: dict[str, Any] = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "splits": {}}
    files: list[StoredFile] = []
    for questions in splits:
        shards = _write_split(questions, folder, rows_per_shard)
        files += [file for file, _ in shards]
        fields["splits"][questions.split] = {
            "source": questions.source,
            "num_rows": len(questions),
            "fingerprint": questions.fingerprint,
            "shards": [asdict(file) | {"num_rows": num_rows} for file, num_rows in shards],
        }
    manifest.write(folder, files, **fields)
    return fields


def _write_split(
    questions: Questions, folder: Folder, rows_per_shard: int
) -> list[tuple[StoredFile, int]]:
    """Write the shards of a split and return each with its number of rows."""
    edges = context_edges(questions.table["context"], rows_per_shard)
    shards = []
    title = f"writing {questions.split}"
    with Progress(len(questions), "questions", title, quiet_s=QUIET_S) as progress:
        for index, (begin, end) in enumerate(pairwise(edges)):
            name = f"{FILE_PREFIXES[questions.split]}-{index:05d}-of-{len(edges) - 1:05d}.parquet"
            rows = questions.table.slice(begin, end - begin)
            with naming(folder.url(name)):
                shards.append((folder.write_parquet(name, rows, compression="zstd"), end - begin))
            progress.update(end)
    return shards


def read_manifest(folder: Folder) -> dict[str, Any] | None:
    """Return the manifest's own fields of a prepared folder, or None if the folder is not one.

    Raises:
        DataError: The manifest is damaged, or of a later version of this suite.
    """
    name = folder.url(manifest.MANIFEST)
    with naming(name):
        if not folder.info(manifest.MANIFEST).is_file:
            return None
        content = folder.read_bytes(manifest.MANIFEST).to_pybytes()
    try:
        fields = json_text.parse(content)
    except ValueError:
        raise DataError(f"{name} is damaged: it is not JSON.", _AGAIN) from None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        return None  # another program's
    if fields.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{name} is of schema version {fields.get('schema_version')}; "
            f"this release reads version {SCHEMA_VERSION}.",
            "Write the folder again with this release's jobs.prepare.",
        )
    if not fields.keys() & {"files", "sha256"}:  # of release 0.1, which wrote no hash of its own
        return fields
    try:
        return manifest.parse(content).fields
    except Damaged:
        raise DataError(f"{name} is damaged: its SHA-256 differs.", _AGAIN) from None


def read_shards(folder: Folder, fields: dict[str, Any], split: str) -> list[tuple[str, pa.Table]]:
    """Read the shards of a split, each verified before it is parsed.

    Args:
        folder: The prepared folder.
        fields: What `read_manifest` returned for it.
        split: `train` or `eval`.

    Returns:
        (name, table as it is stored, with NOWHERE for the offset -1) of each shard.

    Raises:
        DataError: The split is absent, or a shard is missing, truncated or changed; it is named.
    """
    if split not in fields["splits"]:
        raise DataError(
            f"{folder.path} was prepared without {split} questions; "
            f"it holds {', '.join(fields['splits'])}.",
            "Prepare it from a source that has them, or name them with --data.eval-source.",
        )
    parts = []
    for shard in fields["splits"][split]["shards"]:
        file = StoredFile(shard["name"], shard["num_bytes"], shard["sha256"])
        name = folder.url(file.name)
        try:
            with naming(name):
                content = folder.read_checked(file)
        except Damaged as damage:
            raise DataError(f"The shard {folder.path}/{damage}.", _AGAIN) from None
        parts.append((name, _with_nowhere(containers.read(content, name))))
    return parts


def _with_nowhere(table: pa.Table) -> pa.Table:
    """Say of golds that have no place that they were looked for: reading changes no question."""
    chunks = []
    for answers in table["answers"].chunks:
        texts, starts = (pc.struct_field(answers, name) for name in ("text", "answer_start"))
        values = starts.values.cast(pa.int64())
        values = pc.if_else(pc.less(values, 0), pa.scalar(NOWHERE), values)
        starts = pa.ListArray.from_arrays(starts.offsets, values)
        chunks.append(pa.StructArray.from_arrays([texts, starts], ["text", "answer_start"]))
    column = pa.chunked_array(chunks, UNCHECKED.field("answers").type)
    return table.set_column(table.schema.get_field_index("answers"), "answers", column)


def _remove(folder: Folder) -> None:
    """Delete an earlier manifest and its shards, the manifest first: a folder is whole or none."""
    fields = read_manifest(folder)
    if fields is not None:
        shards = [shard for split in fields["splits"].values() for shard in split["shards"]]
        for name in (manifest.MANIFEST, *(shard["name"] for shard in shards)):
            folder.remove(name)


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
