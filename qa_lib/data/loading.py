"""Find the source, read it, quarantine faulty rows, choose the rows of the split."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from qa_lib.data import (
    columns,
    containers,
    conversion,
    embedded,
    files,
    hub,
    quarantine,
    shards,
    told,
    validation,
)
from qa_lib.data.column_names import ASKED, OF_LABELS
from qa_lib.data.locating import HELD
from qa_lib.data.schema import RAW, SCHEMA, Questions, Split
from qa_lib.data.selection import part_articles, sample
from qa_lib.errors import DataError
from qa_lib.runs.folder import Folder

if TYPE_CHECKING:
    from qa_lib.config import DataSettings

Base = Literal["train", "eval"]  # what sources hold


def load_questions(
    data: DataSettings, split: Split, *, quarantine_dir: str | None = None, labels: bool = True
) -> Questions:
    """Load the questions of a split, validated.

    `train` and `holdout` divide the articles of `data.source`: the fraction `data.holdout_articles`
    of them, chosen by a hash of the title alone, is never in `train`. A limit then takes a sample
    (`train_limit` of `train`, `eval_limit` of `eval` and `holdout`). `eval` comes from
    `data.eval_source` if that is given. A single file is any split: a job that both trains and
    evaluates calls `splits_of` first.

    Args:
        data: The source, and which of its rows.
        split: `train`, `eval` or `holdout`.
        quarantine_dir: Local folder or URL for `quarantine-SPLIT.jsonl`: the rows left out, with
            reasons. Without it they are only counted.
        labels: Whether to read the answers; without, no question has one, and none is needed.

    Raises:
        DataError: The questions cannot be found or read, or more than `data.bad_row_limit` of the
            rows are faulty; the quarantine is written even then.
    """
    source = source_of(data, split)
    base: Base = "eval" if split == "eval" else "train"
    parts = _read(source, base, data if labels else _unlabelled(data))
    pa.default_memory_pool().release_unused()  # else what a file took stays the process's
    table = columns.identify(pa.concat_tables([part for _, part in parts]))
    if labels:
        _check_gold(table, source, base)
    else:
        table = _without_answers(table)
    checked = validation.check(table, all_golds_count=base == "eval")
    if checked.bad:
        quarantine.set_aside(table, parts, checked.bad, data, base, quarantine_dir)
    if checked.table.num_rows == 0:
        reasons = sorted({reason for _, reason in checked.bad})
        raise DataError(
            f"{source} holds no questions that can be used{': ' if reasons else ''}"
            f"{'; '.join(reasons)}.",
            "Repair its rows." if reasons else hub.ALTERNATIVES,
        )
    notes, num_bad = checked.notes, len(checked.bad)
    told.tell(source, base, num_bad, notes)
    batches = checked.table.to_batches()
    del parts, table, checked
    table = _with_own_texts(batches)
    if base == "train" and (data.holdout_articles or split == "holdout"):
        table = part_articles(table, data.holdout_articles, split, source)
    limit = data.train_limit if split == "train" else data.eval_limit
    return Questions(sample(table, limit), split, source, num_bad, notes)


def read_questions(source: str, data: DataSettings) -> list[dict[str, Any]]:
    """Read a file of questions and contexts to be answered, with or without golds.

    Args:
        source: The path or URL of a file.
        data: Names its columns, where they are not the usual ones.

    Returns:
        The `id`, `question` and `context` of each row, all of them texts, and its other values in
        the columns that were read (`columns.others`).

    Raises:
        DataError: The file cannot be read, or a row lacks its question or context, or is not UTF-8.
    """
    folder, _ = _locate(source)
    found, unlabelled = files.read(folder, _mapped(data)), _unlabelled(data)
    part = _normalised([(source, found)], unlabelled)[0][1]
    table = columns.identify(part)
    fault = validation.first_fault(table)
    if fault is not None:
        row, reason = fault
        shown = quarantine.detail(table.slice(row, 1).cast(RAW).to_pylist()[0], reason)
        raise DataError(
            f"{source} row {columns.row_in_file(part, row)} (counted from 0): {reason} ({shown}).",
            "Write the file as UTF-8, with a question and a context in every row.",
        )
    table = table.select(ASKED)
    rows = table.cast(pa.schema([(name, pa.string()) for name in ASKED])).to_pylist()
    others = columns.others(found, source, unlabelled.column_names)
    for name, values in others.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def load_splits(data: DataSettings, *, quarantine_dir: str | None = None) -> list[Questions]:
    """Load every split that the sources hold, as `load_questions` does, with no articles held out.

    A job that trains decides which articles to hold out, from titles alone, so that the data need
    not be prepared again.

    Raises:
        DataError: There is no split, or one cannot be loaded.
    """
    data = data.model_copy(update={"holdout_articles": 0.0})
    # Where the source holds neither, the error of loading `train` says what it holds instead.
    return [
        load_questions(data, split, quarantine_dir=quarantine_dir)
        for split in splits_of(data) or ("train",)
    ]


def splits_of(data: DataSettings) -> tuple[Split, ...]:
    """Return the splits that a job which trains and evaluates can have, without reading any rows.

    A single file is the training data: without `data.eval_source` there is no `eval`, but there is
    `holdout` where `data.holdout_articles` sets articles aside.

    Raises:
        DataError: A folder is missing, or holds several candidates for a split.
    """
    bases: tuple[Base, ...] = ("train", "eval")
    splits: list[Split] = [split for split in bases if _holds(data, split)]
    if "train" in splits and data.holdout_articles > 0:
        splits.append("holdout")
    return tuple(splits)


def load_held_out(data: DataSettings, *, quarantine_dir: str | None = None) -> Questions | None:
    """Load what a job that trains may evaluate: the `eval` split, or the held-out articles.

    Returns:
        The questions, or None if the source has neither.

    Raises:
        DataError: As `load_questions`.
    """
    held_out = [split for split in splits_of(data) if split != "train"]
    return load_questions(data, held_out[0], quarantine_dir=quarantine_dir) if held_out else None


def source_of(data: DataSettings, split: str) -> str:
    """Return where the questions of a split come from."""
    return data.eval_source or data.source if split == "eval" else data.source


def is_table(path: str) -> bool:
    """Whether the suffix of a file is that of a container other than JSON lines, packed or not."""
    _, suffix, _ = containers.split_suffix(path)
    return suffix in containers.SUFFIXES and suffix not in (".jsonl", ".ndjson")


def is_known(path: str) -> bool:
    """Whether the suffix of a file is that of a container, packed or not."""
    return containers.split_suffix(path)[1] in containers.SUFFIXES


def is_on_hub(data: DataSettings, split: Split) -> bool:
    """Whether a split can only be a dataset of the hub."""
    source = source_of(data, split)
    return source != "embedded" and _is_on_hub(source)


def _is_on_hub(source: str) -> bool:
    """Whether a name can only be a hub id: not a URL, nor a path by its spelling or on the disk."""
    if "://" in source or os.path.exists(os.path.expanduser(source)):
        return False
    looks_like_path = source.startswith((".", "/", "~")) or bool(containers.split_suffix(source)[1])
    return not looks_like_path and source.count("/") <= 1


def _locate(source: str) -> tuple[Folder, bool]:
    """Return a folder or file of questions, and whether it is a file; fail soon if unreachable.

    Raises:
        DataError: Nothing is there.
    """
    with files.naming(source):
        kind = Folder(source, patient=False).info().type
    if kind == fs.FileType.NotFound:
        raise DataError(f"There is no file or folder {source}.", hub.ALTERNATIVES)
    return Folder(source), kind == fs.FileType.File


def _holds(data: DataSettings, split: Base) -> bool:
    source = source_of(data, split)
    if source == "embedded" or _is_on_hub(source):
        return True
    folder, is_file = _locate(source)
    if is_file:
        return split == "train" or data.eval_source is not None
    manifest = shards.read_manifest(folder)
    if manifest is not None:
        return split in manifest["splits"]
    if files.is_saved_dataset(folder):
        return split == "train" or data.eval_source is not None
    try:
        files.find(folder, split, data.version)
    except files.SplitNotFound:
        return False
    return True


def _read(source: str, split: Base, data: DataSettings) -> list[tuple[str, pa.Table]]:
    """Return (name, table as `columns.normalise` leaves it) of each file of a split."""
    if source == "embedded":
        return [(source, columns.normalise(embedded.corpus(split), source))]
    if _is_on_hub(source):
        return _normalised([(source, hub.read(source, split))], data)
    folder, is_file = _locate(source)
    if is_file:
        return _normalised([(source, files.read(folder, _mapped(data)))], data)
    manifest = shards.read_manifest(folder)
    if manifest is not None:
        parts = shards.read_shards(folder, manifest, split)
        return [(name, _as_judged(columns.normalise(part, name))) for name, part in parts]
    is_saved = files.is_saved_dataset(folder)
    found = files.saved_files(folder) if is_saved else files.find(folder, split, data.version)
    names = (f"{source.rstrip('/')}{file.path.removeprefix(folder.path)}" for file in found)
    return _normalised(
        [(name, files.read(file, _mapped(data))) for name, file in zip(names, found, strict=True)],
        data,
    )


def _as_judged(table: pa.Table) -> pa.Table:
    """Say of prepared questions without answers that they are unanswerable: so they were judged."""
    num_golds = pc.list_value_length(pc.struct_field(table["answers"], "text"))
    none = pc.equal(num_golds.fill_null(0), 0)
    return table.set_column(table.schema.get_field_index("is_impossible"), "is_impossible", none)


def _mapped(data: DataSettings) -> frozenset[str]:
    """Return the names of columns that JSON is to keep beside the usual ones."""
    paths = [path.split(".") for path in data.column_names.values() if path]
    ends = [(path, end) for path in paths for end in range(1, len(path) + 1)]
    # A dot may be that of a name.
    return frozenset(conversion.plain(".".join(path[:end])) for path, end in ends)


def _unlabelled(data: DataSettings) -> DataSettings:
    """Return the settings with all columns of answers left out, whatever they hold."""
    names = data.column_names | dict.fromkeys(OF_LABELS, "")
    text = ",".join(f"{what}={path}" for what, path in names.items())
    return data.model_copy(update={"columns": text})


def _normalised(
    parts: list[tuple[str, pa.Table]], data: DataSettings
) -> list[tuple[str, pa.Table]]:
    """Bring parts to one schema; those without rows have no columns to judge."""
    filled = [
        (name, part)
        for name, part in parts
        if part.num_rows or part.num_columns or (part.schema.metadata or {}).get(HELD)
    ]
    if not filled:
        raise DataError(f"{parts[0][0]} holds no questions that can be used.", hub.ALTERNATIVES)
    return [(name, columns.normalise(part, name, data.column_names)) for name, part in filled]


def _with_own_texts(batches: list[pa.RecordBatch]) -> pa.Table:
    """Cast checked questions to SCHEMA: from here on each row has its context and title.

    Batches are taken from the list, so that each is gone before the next one grows.
    """
    cast = []
    for number in range(len(batches)):
        cast.append(batches[number].cast(SCHEMA))
        batches[number] = None
        pa.default_memory_pool().release_unused()
    return pa.Table.from_batches(cast, SCHEMA)


def _check_gold(table: pa.Table, source: str, split: str) -> None:
    """Refuse questions of which none has a gold or is said to have none.

    Raises:
        DataError: They can be answered, not trained on or scored.
    """
    texts = pc.list_flatten(pc.struct_field(table["answers"], "text"))
    has_any = pc.any(pc.greater(pc.binary_length(texts.cast(pa.binary())), 0)).as_py()
    said = table["is_impossible"]  # where every row says that it has an answer, each is a fault
    if not has_any and said.null_count and not pc.any(said).as_py():
        work = "scored" if split == "eval" else "trained on"
        raise DataError(
            f"{source} holds {len(table):,} questions without answers; they cannot be {work}.",
            f"Answer them with `python -m jobs.answer --answer.input {source} "
            "--answer.output answers.jsonl`, give a file with answers, name their column with "
            "--data.columns, such as answer=a, or say of unanswerable ones that they are "
            "(is_impossible true).",
        )


def _without_answers(table: pa.Table) -> pa.Table:
    """Empty the list of answers of every question, and say that this is meant."""
    schema, num_rows = table.schema, table.num_rows
    none = pa.array([{"text": [], "answer_start": []}] * num_rows, schema.field("answers").type)
    table = table.set_column(schema.get_field_index("answers"), "answers", none)
    meant = pa.array(np.ones(num_rows, bool))
    return table.set_column(schema.get_field_index("is_impossible"), "is_impossible", meant)
