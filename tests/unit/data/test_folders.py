"""Splits of folders, as cloned from the hub, saved by `datasets`, or written by Spark."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import splits_of
from qa_lib.errors import DataError
from tests.support.question_files import (
    BERLIN,
    LISTS,
    READ,
    ROW,
    as_json,
    as_lines,
    content,
    load,
    refusal,
)


@pytest.mark.parametrize(
    ("train", "dev"),
    [
        ("data/train-00000-of-00001-0123456789abcdef.parquet", "data/test-00000-of-00001.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/validation/0000.parquet"),
        ("squad.train.jsonl", "squad.val.jsonl"),
        ("my_train_set.json", "my_valid_set.json"),
        ("train/part.csv", "dev/part.csv"),
        ("KorQuAD_v1.0_train.jsonl", "KorQuAD_v1.0_dev.jsonl"),
        ("a/b/Training/x.jsonl", "a/b/Evaluation/x.jsonl"),
        ("training_set.jsonl", "testing_set.jsonl"),
        ("train-1-of-1.jsonl", "eval-0-of-1.jsonl"),
        ("frenchTrain.jsonl", "frenchDev.jsonl"),
        ("trainset.jsonl", "evalset.jsonl"),
        ("train.jsonl", "validate.jsonl"),
        ("SQuADtrain.jsonl", "SQuAD-DEV.jsonl"),
    ],
)
def test_a_folder_as_it_is_cloned(tmp_path, train, dev):
    (tmp_path / ".git").mkdir()
    as_json(tmp_path / ".git/train.json", {})
    as_json(tmp_path / "dataset_infos.json", {})
    as_json(tmp_path / "nbest_predictions_dev.json", {})
    as_json(tmp_path / "trainer_state.json", {})
    (tmp_path / "~$train.xlsx").write_bytes(b"of Excel, which has train.xlsx open")
    for name, number in ((train, "1"), (dev, "2")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([ROW | {"id": number, "answer": "10"}])
        if path.suffix == ".parquet":
            pq.write_table(table, path)
        elif path.suffix == ".csv":
            pacsv.write_csv(table, path)
        else:
            as_lines(path, *table.to_pylist())
    settings = DataSettings(source=str(tmp_path))
    assert splits_of(settings) == ("train", "eval")
    assert [content(load(tmp_path, split))[0][0] for split in ("train", "eval")] == ["1", "2"]


def test_a_validation_file_goes_before_a_test_file(tmp_path):
    as_lines(tmp_path / "train.jsonl", ROW | {"answers": LISTS})
    as_lines(tmp_path / "test.jsonl", ROW | {"id": "test", "answers": LISTS})
    assert content(load(tmp_path, "eval"))[0][0] == "test"
    as_lines(tmp_path / "valid.jsonl", ROW | {"id": "valid", "answers": LISTS})
    assert content(load(tmp_path, "eval"))[0][0] == "valid"


def test_files_that_spark_wrote_are_one_split(tmp_path):
    (tmp_path / "train").mkdir()
    for number in (0, 1):
        name = f"part-0000{number}-1b2c-c000.jsonl"
        as_lines(tmp_path / "train" / name, ROW | {"id": number, "answers": LISTS})
    assert [row[0] for row in content(load(tmp_path))] == ["0", "1"]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_numbered_files_are_one_split_only_where_none_is_missing(tmp_path, width):
    for number in (0, 1, 2):
        path = tmp_path / f"train-{number:0{width}d}.jsonl"
        as_lines(path, ROW | {"id": number, "answers": LISTS})
    assert [row[0] for row in content(load(tmp_path))] == ["0", "1", "2"]
    (tmp_path / f"train-{1:0{width}d}.jsonl").unlink()
    assert "several candidates" in refusal(tmp_path).problem


@pytest.mark.parametrize(
    "pattern", ["train/part-{}.csv", "train/part.{}.csv", "train/data_{}.csv", "train{}.csv"]
)
@pytest.mark.parametrize("first", [0, 1])
def test_files_are_numbered_as_pyarrow_dask_or_people_do(tmp_path, pattern, first):
    numbers = list(range(first, 12))
    for number in numbers:
        path = tmp_path / pattern.format(number)
        path.parent.mkdir(exist_ok=True)
        pacsv.write_csv(pa.Table.from_pylist([ROW | {"id": number, "answer": "10"}]), path)
    assert [row[0] for row in content(load(tmp_path))] == [*map(str, numbers)]


@pytest.mark.parametrize("names", [("v1", "v2"), ("v1.0", "v1.1"), ("fold0", "fold1")])
def test_versions_and_folds_are_not_read_as_one(tmp_path, names):
    for number, name in enumerate(names):
        as_lines(tmp_path / f"train-{name}.jsonl", ROW | {"id": number, "answers": LISTS})
    assert "several candidates for train: " in refusal(tmp_path).problem


@pytest.mark.parametrize("word", ["devanagari", "Devices", "devotion", "quatrains"])
def test_a_word_that_begins_like_a_split_is_none(tmp_path, word):
    as_lines(tmp_path / "train.jsonl", ROW | {"answers": LISTS})
    as_lines(tmp_path / "test.jsonl", ROW | {"id": "test", "answers": LISTS})
    as_lines(tmp_path / f"{word}.jsonl", ROW | {"id": "other", "answers": LISTS})
    assert [content(load(tmp_path, split))[0][0] for split in ("train", "eval")] == ["1", "test"]


def test_the_split_is_the_word_that_stands_alone(tmp_path):
    for split in ("train", "dev", "test"):
        name = f"hindi_devanagari_{split}.jsonl"
        as_lines(tmp_path / name, ROW | {"id": split, "answers": LISTS})
    assert [content(load(tmp_path, split))[0][0] for split in ("train", "eval")] == ["train", "dev"]


def test_a_dataset_saved_to_disk(tmp_path):
    import datasets

    dataset = datasets.Dataset.from_list([ROW | {"answers": LISTS}])
    other = datasets.Dataset.from_list([ROW | {"id": "2", "answers": LISTS}])
    both = datasets.DatasetDict(train=dataset, validation=other)
    both.save_to_disk(str(tmp_path / "both"))
    dataset.save_to_disk(str(tmp_path / "one"), num_shards=1)
    assert content(load(tmp_path / "one")) == content(load(tmp_path / "both")) == READ
    assert content(load(tmp_path / "both", "eval"))[0][0] == "2"
    assert splits_of(DataSettings(source=str(tmp_path / "one"))) == ("train",)


def test_articles_without_titles_are_held_out_by_context(tmp_path):
    rows = [
        {"context": f"{BERLIN} {number // 4}", "question": "How many?", "answer": "10"}
        for number in range(80)
    ]
    path = as_lines(tmp_path / "q.jsonl", *rows)
    train, held = (load(path, split, holdout_articles=0.3) for split in ("train", "holdout"))
    contexts = [{row[2] for row in content(part)} for part in (train, held)]
    assert all(contexts) and not contexts[0] & contexts[1]


@pytest.mark.parametrize("name", ["dev.xls", "valid.csv.zip", "squad_dev.json.xz"])
def test_a_split_that_is_not_read_is_named_and_none_taken_for_it(tmp_path, name):
    as_lines(tmp_path / "train.jsonl", ROW | {"answers": LISTS})
    as_lines(tmp_path / "test.jsonl", ROW | {"answers": LISTS})
    (tmp_path / "train.zip").write_bytes(b"what train.jsonl was unpacked from")
    (tmp_path / name).write_bytes(b"PK")
    assert content(load(tmp_path)) == READ
    error = refusal(tmp_path, "eval")
    assert name in error.problem and ".csv" in error.remedy
    with pytest.raises(DataError, match=re.escape(name)):
        splits_of(DataSettings(source=str(tmp_path)))


def test_what_datasets_keeps_of_an_earlier_step_is_no_split(tmp_path):
    import datasets

    dataset = datasets.Dataset.from_list([ROW | {"answers": LISTS}])
    datasets.DatasetDict(train=dataset).save_to_disk(str(tmp_path))
    kept = tmp_path / "train" / "cache-0f1e2d3c4b5a6978.arrow"
    kept.write_bytes(next((tmp_path / "train").glob("data-*.arrow")).read_bytes())
    assert content(load(tmp_path)) == READ
