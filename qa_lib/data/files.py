"""Files of questions: where they are, which of them are a split, and how they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib.data import json_files
from qa_lib.data.schema import conform
from qa_lib.errors import DataError
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json")
PREFIXES = {"train": ("train",), "eval": ("dev", "validation")}
_SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})$")


class SplitNotFound(DataError):
    """No file of a folder has the name of the split."""


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn what a filesystem raises into a DataError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"There is no file or folder {name}.", "Check the path.") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{name} cannot be reached: {storage.first_line(error)}.",
            "Check the path, and that this machine may use it.",
        ) from None


def find(folder: Folder, split: str, version: str) -> list[Folder]:
    """Find the files of a split in a folder, by name.

    Names begin with `train`, or with `dev` or `validation`. Those that name another version
    (`v1.1`, `v2.0`) are left out; Parquet is preferred to JSON. Files `NAME-00000-of-00018.*` are
    one candidate, and all of them must exist.

    Returns:
        The files in the order of their shards.

    Raises:
        SplitNotFound: There is no candidate.
        DataError: There are several, or a shard is missing.
    """
    candidates: dict[str, list[str]] = {}
    with naming(folder.path):
        names = [entry.base_name for entry in folder.entries() if entry.is_file]
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES and stem.lower().startswith(PREFIXES[split]):
            shard = _SHARD.match(stem)
            pattern = f"{shard['stem']}-*-of-{shard['count']}{suffix}" if shard else name
            candidates.setdefault(pattern, []).append(name)
    of_version = [name for name in candidates if not _is_of_other_version(name, version)]
    parquet = [name for name in of_version if name.lower().endswith(".parquet")]
    best = parquet or of_version
    flag = "--data.source" if split == "train" else "--data.eval-source"
    wanted = " or ".join(f"{prefix}*" for prefix in PREFIXES[split])
    if not best:
        found = ", ".join(candidates or names) or "no files"
        why = f" of version {version}" if candidates else ""
        raise SplitNotFound(
            f"{folder.path} holds no {wanted} file{why}; it holds {found}.",
            f"Name the file with {flag}, or choose the version with --data.version.",
        )
    if len(best) > 1:
        raise DataError(
            f"{folder.path} holds several candidates for {split}: {', '.join(best)}.",
            f"Name one of them with {flag}, or choose the version with --data.version.",
        )
    return [folder.child(name) for name in _complete(folder, best[0], candidates[best[0]])]


def read(file: Folder) -> pa.Table:
    """Read a file of Parquet, JSON lines, or official nested JSON as `schema.conform` leaves it.

    Raises:
        DataError: It is missing, truncated, of another format, or holds other columns.
    """
    with naming(file.path):
        content = file.read_bytes()
    suffix = os.path.splitext(file.path)[1].lower()
    if suffix == ".parquet":
        return parquet(content, file.path)
    if suffix in SUFFIXES:
        return conform(json_files.read(content, file.path), file.path)
    raise DataError(
        f"The format of {file.path} is unknown.", f"Use a file of {', '.join(SUFFIXES)}."
    )


def parquet(content: pa.Buffer, name: str) -> pa.Table:
    """Read the questions of a Parquet file.

    Raises:
        DataError: It is truncated or damaged, or holds other columns.
    """
    try:
        _check_counts(pq.read_metadata(pa.BufferReader(content)))
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name} is truncated or damaged: {storage.first_line(error)}.",
            "Fetch or write it again.",
        ) from None
    return conform(table, name)


def _check_counts(metadata: pq.FileMetaData) -> None:
    """Check that a footer's counts agree: Arrow believes the smallest, and drops the other rows.

    Raises:
        ArrowInvalid: They do not.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    agree = metadata.num_rows == sum(group.num_rows for group in groups)
    for group in groups:
        for number in range(group.num_columns):
            is_flat = metadata.schema.column(number).max_repetition_level == 0
            num_values = group.column(number).num_values
            # A list has at least one value a row, an empty one too.
            agree &= num_values == group.num_rows if is_flat else num_values >= group.num_rows
    if not agree:
        raise pa.ArrowInvalid("the counts of rows in its footer disagree")


def _is_of_other_version(name: str, version: str) -> bool:
    tags = re.findall(r"v(\d\.\d)", name)
    return bool(tags) and version not in tags


def _complete(folder: Folder, pattern: str, names: list[str]) -> list[str]:
    """Return the shards of a candidate in order, and check that none is missing."""
    stem, star, rest = pattern.partition("-*-of-")
    if not star:
        return names
    count = int(rest[:5])
    wanted = [f"{stem}-{index:05d}-of-{rest}" for index in range(count)]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(
            f"{folder.path} lacks {len(missing)} of {count} shards: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}.",
            "Fetch or write them again.",
        )
    return wanted
