"""Files of questions: where they are, which of them are a split, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import fs

from qa_lib.data import containers
from qa_lib.data.split_names import SPLIT_NAMES, split_in
from qa_lib.errors import DataError
from qa_lib.runs import json_text, storage
from qa_lib.runs.folder import Folder

STATE = "state.json"  # of a dataset that `datasets` saved to disk
_NOT_QUESTIONS = {
    STATE,
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "manifest.json",
    "config.json",
    "package.json",
}
_BESIDE = {"predictions", "prediction", "nbest", "results", "metrics"}  # of files of a model
_SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d+)-of-(?P<count>\d+)(-[0-9a-f]{8,})?$")
_PART = re.compile(r"(?P<stem>(.*/)?part-)(?P<index>\d{5})-.+$")  # as Spark names them
_NUMBERED = re.compile(r"(?P<stem>.*?)(?<!\d)(?<!\d\.)(?P<index>\d+)$")  # not the 1 of v1.1
_VARIANT = re.compile(r"(^|[^a-z])(v|ver|version|fold|seed)[-_. ]?$", re.IGNORECASE)
"""What a number follows that tells apart what is read one at a time."""
# Of `datasets`, beside the data that it was made of.
_CACHE = re.compile(r"cache-[0-9a-f]+\.arrow$")
_UNREAD = {".xls", ".ods", ".zip", ".xz", ".7z", ".rar", ".tar", ".tgz", ".pkl", ".orc", ".avro"}
_PREFERENCE = {".parquet": 0, ".arrow": 1, ".feather": 1, ".json": 2, ".jsonl": 2, ".ndjson": 2}


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
    """Find the files of a split in a folder, or else in those below, by name.

    A name of the split is looked for in the file's name, then in the folders above it: `train`;
    `dev`, `validation`, `val` or `valid`, and where there is none `test`. Those that name another
    version (`v1.1`, `v2.0`) are left out; Parquet is preferred to Arrow, to JSON, to other tables.
    Files `NAME-00000-of-00018.*` are one candidate, and all of them must exist; so are files
    numbered from 0 or 1.

    Returns:
        The files in the order of their shards.

    Raises:
        SplitNotFound: There is no candidate.
        DataError: There are several, a shard is missing, or the only file of that name is of a
            format that is not read: in its place another would be taken, or none.
    """
    with naming(folder.path):
        below = _files_below(folder)
    names = [name for name in below if containers.split_suffix(name)[1] in containers.SUFFIXES]
    unread = [name for name in below if name not in names]
    candidates: dict[str, list[str]] = {}
    for wanted in SPLIT_NAMES[split]:
        chosen = [name for name in names if split_name(name) in wanted]
        nearest = min((name.count("/") for name in chosen), default=0)
        candidates = _grouped([name for name in chosen if name.count("/") == nearest])
        if candidates:
            break
        _check_read(folder, [name for name in unread if split_name(name) in wanted])
    of_version = [name for name in candidates if not _is_of_other_version(name, version)]
    ranks = {name: _PREFERENCE.get(containers.split_suffix(name)[1], 3) for name in of_version}
    best = [name for name, rank in ranks.items() if rank == min(ranks.values())]
    flag = "--data.source" if split == "train" else "--data.eval-source"
    if not best:
        words = " or ".join(f"{word}*" for word in SPLIT_NAMES[split][0])
        found = ", ".join([*(candidates or names)][:20]) or "no files of questions"
        why = f" of version {version}" if candidates else ""
        raise SplitNotFound(
            f"{folder.path} holds no {words} file{why}; it holds {found}.",
            f"Name the file with {flag}, or choose the version with --data.version.",
        )
    if len(best) > 1:
        raise DataError(
            f"{folder.path} holds several candidates for {split}: {', '.join(best)}.",
            f"Name one of them with {flag}, or choose the version with --data.version.",
        )
    return [folder.child(name) for name in _complete(folder, best[0], candidates[best[0]])]


def _check_read(folder: Folder, unread: list[str]) -> None:
    if unread:
        raise DataError(
            f"{folder.path} holds {', '.join(unread)}, whose format is not read.",
            f"Unpack it, or write it as {', '.join(containers.SUFFIXES)}; if it is not meant, move "
            "it away.",
        )


def split_name(path: str) -> str | None:
    """Return the word of a path that names a split, of the file's name before its folders'."""
    *folders, file = path.split("/")
    parts = (containers.split_suffix(file)[0], *reversed(folders))
    return next(filter(None, map(split_in, parts)), None)


def _files_below(folder: Folder) -> list[str]:
    """Return the paths of files that may hold questions, relative to the folder, sorted.

    Those of formats that hold questions elsewhere, but are not read, are among them.
    """
    selector = fs.FileSelector(folder.root, recursive=True, allow_not_found=True)
    infos = folder.filesystem.get_file_info(selector)
    paths = {info.path.removeprefix(folder.root).lstrip("/") for info in infos if info.is_file}
    of_questions = {*containers.SUFFIXES, *_UNREAD}
    return sorted(
        path
        for path in paths
        if containers.split_suffix(path)[1] in of_questions
        and not (_CACHE.search(path) and _CACHE.sub(STATE, path) in paths)
        and path.rpartition("/")[2] not in _NOT_QUESTIONS
        and not any(part.startswith((".", "~$")) for part in path.split("/"))  # ~$: Excel's lock
        and not _BESIDE & set(re.findall(r"[a-z]+", path.rpartition("/")[2].lower()))
    )


def _grouped(names: list[str]) -> dict[str, list[str]]:
    """Return the files of each candidate by its name; shards are one candidate."""
    groups: dict[str, list[str]] = {}
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        stem = containers.split_suffix(name)[0]
        suffix = name[len(stem) :]
        if shard := _SHARD.match(stem):
            pattern = f"{shard['stem']}-*-of-{shard['count']}{suffix}"
            groups.setdefault(pattern, []).append(name)
        elif number := _PART.match(stem) or _number(stem):
            numbered.setdefault(f"{number['stem']}*{suffix}", []).append(
                (int(number["index"]), name)
            )
        else:
            groups[name] = [name]
    for pattern, files in numbered.items():
        files.sort()
        indices = [index for index, _ in files]
        from_first = indices == list(range(indices[0], indices[0] + len(indices)))
        if len(files) > 1 and indices[0] in (0, 1) and from_first:
            groups[pattern] = [name for _, name in files]
        else:
            groups |= {name: [name] for _, name in files}
    return groups


def _number(stem: str) -> re.Match[str] | None:
    number = _NUMBERED.match(stem)
    return None if number is None or _VARIANT.search(number["stem"]) else number


def is_saved_dataset(folder: Folder) -> bool:
    """Whether a folder is one dataset that `datasets` saved to disk: a single source."""
    with naming(folder.path):
        return folder.exists(STATE)


def saved_files(folder: Folder) -> list[Folder]:
    """Return the files of a dataset that `datasets` saved to disk.

    Raises:
        DataError: The list of its files is damaged.
    """
    with naming(folder.url(STATE)):
        content = folder.read_bytes(STATE).to_pybytes()
    try:
        return [folder.child(each["filename"]) for each in json_text.parse(content)["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder.url(STATE)} does not list the dataset's files.", "Save the dataset again."
        ) from None


def read(file: Folder, mapped: frozenset[str] = frozenset()) -> pa.Table:
    """Read a file as `containers.read` does.

    Raises:
        DataError: It is missing, truncated, or of another format.
    """
    with naming(file.path):
        content = file.read_bytes()
    return containers.read(content, file.path, mapped)


def _is_of_other_version(name: str, version: str) -> bool:
    tags = re.findall(r"v(\d)\.\d", name)  # v1.0, as KorQuAD has it, follows the rules of 1.1
    return bool(tags) and version[0] not in tags


def _complete(folder: Folder, pattern: str, names: list[str]) -> list[str]:
    """Return the files of a candidate in order, and check that no shard is missing."""
    matches = [_SHARD.match(containers.split_suffix(name)[0]) for name in names]
    shards = [match for match in matches if match]
    if not shards:
        return names
    by_index = {int(shard["index"]): name for shard, name in zip(shards, names, strict=True)}
    stem, _, rest = pattern.partition("-*-of-")
    count, width = int(shards[0]["count"]), len(shards[0]["index"])
    first = int(0 not in by_index and count in by_index)  # some count from 1
    wanted = range(first, first + count)
    missing = [f"{stem}-{index:0{width}d}-of-{rest}" for index in wanted if index not in by_index]
    if missing:
        raise DataError(
            f"{folder.path} lacks {len(missing)} of {count} shards: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}.",
            "Fetch or write them again.",
        )
    return [by_index[index] for index in wanted]
