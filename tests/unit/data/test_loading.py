"""Sources of questions: what a name stands for, which rows a split gets, what is refused."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.config import DataSettings
from qa_lib.data import SCHEMA, Questions, Split, embedded, fingerprint, load_questions, splits_of
from qa_lib.errors import ConfigError, DataError

BOM = b"\xef\xbb\xbf"


def row(number: int, title: str = "Ghent", **changes: Any) -> dict[str, Any]:
    answers = {"text": ["Ghent"], "answer_start": [14]}
    base = {
        "id": f"q{number}",
        "title": title,
        "context": "Ada met Bo in Ghent.",
        "question": "Where did they meet?",
        "answers": answers,
    }
    return base | changes


ROWS = [row(number, title=f"article {number // 4}") for number in range(40)]


def nested(rows: list[dict[str, Any]], version: str = "1.1") -> dict[str, Any]:
    """Return rows in the official form, an article of one paragraph each."""
    articles = []
    for line in rows:
        answers = line["answers"]
        pairs = zip(answers["text"], answers["answer_start"], strict=True)
        question: dict[str, Any] = {
            "id": line["id"],
            "question": line["question"],
            "answers": [{"text": text, "answer_start": start} for text, start in pairs],
        }
        if version == "2.0":
            question["is_impossible"] = not answers["text"]
            if not answers["text"]:
                question["plausible_answers"] = [{"text": "Bo", "answer_start": 8}]
        paragraph = {"context": line["context"], "qas": [question]}
        articles.append({"title": line["title"], "paragraphs": [paragraph]})
    return {"version": version, "data": articles}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows in the format that the suffix names; `.json` is the official form."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(nested(rows)))
    else:
        path.write_text("".join(json.dumps(line) + "\n" for line in rows))
    return str(path)


def load(source: str | Path, split: Split = "train", **settings: Any) -> Questions:
    return load_questions(DataSettings(source=str(source), **settings), split)


def ids(questions: Questions) -> list[str]:
    return questions.table["id"].to_pylist()


def refusal(source: str | Path, split: Split = "train", **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(source, split, **settings)
    assert caught.value.remedy
    return str(caught.value)


def quarantine(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "quarantine-train.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# -- formats


@pytest.mark.parametrize("name", ["q.parquet", "q.jsonl", "q.ndjson", "q.json"])
def test_every_format_gives_the_same_questions(tmp_path, name):
    loaded = load(write(tmp_path / name, ROWS))
    assert loaded.table.schema == SCHEMA
    assert loaded.table.to_pylist() == ROWS
    assert loaded.fingerprint == fingerprint(pa.Table.from_pylist(ROWS, SCHEMA))
    assert (len(loaded), loaded.num_quarantined, loaded.has_unanswerable) == (40, 0, False)
    assert loaded.titles == tuple(f"article {number}" for number in range(10))


def test_json_is_told_by_its_content_not_by_its_suffix(tmp_path):
    lines = tmp_path / "lines.json"
    lines.write_bytes(BOM + b"\n" + "\r\n".join(map(json.dumps, ROWS)).encode())
    pretty = tmp_path / "pretty.json"
    pretty.write_bytes(BOM + json.dumps(nested(ROWS), indent=1).encode())
    assert load(lines).table.to_pylist() == ROWS == load(pretty).table.to_pylist()


def test_version_2_keeps_the_unanswerable_and_drops_plausible_answers(tmp_path):
    rows = [row(0), row(1, answers={"text": [], "answer_start": []})]
    (tmp_path / "dev.json").write_text(json.dumps(nested(rows, "2.0")))
    loaded = load(tmp_path / "dev.json", "eval")
    assert loaded.table.to_pylist() == rows
    assert loaded.has_unanswerable


def test_wide_and_encoded_columns_come_out_in_the_schema(tmp_path):
    answers = pa.struct(
        {"answer_start": pa.large_list(pa.int64()), "text": pa.large_list(pa.large_string())}
    )
    columns = pa.Table.from_pylist(ROWS)
    wide = pa.table(
        {
            "extra": pa.nulls(len(ROWS)),
            "answers": pa.array([line["answers"] for line in ROWS], answers),
            "question": columns["question"].cast(pa.large_string()),
            "context": columns["context"].dictionary_encode(),
            "title": columns["title"],
            "id": columns["id"],
        }
    )
    pq.write_table(wide, tmp_path / "wide.parquet", row_group_size=7)
    loaded = load(tmp_path / "wide.parquet")
    assert loaded.table.schema == SCHEMA
    assert loaded.table.to_pylist() == ROWS


def test_text_is_kept_as_it_is_but_for_white_space_around_questions_and_golds(tmp_path):
    odd = row(
        0, question="\ufeff  Where?\u2028 ", title=" e\u0301 ", context="\u00a0Bo in  Ghent.\n"
    )
    odd["answers"] = {"text": [" Ghent"], "answer_start": [7]}
    trimmed = odd | {
        "question": "\ufeff  Where?",
        "answers": {"text": ["Ghent"], "answer_start": [8]},
    }
    for name in ("q.parquet", "q.jsonl", "q.json"):
        assert load(write(tmp_path / name, [odd])).table.to_pylist() == [trimmed]


def test_a_text_that_is_not_utf8_is_the_fault_of_its_row_only(tmp_path):
    # The escape is good JSON, but nothing that UTF-8 can hold.
    rows = [row(0), row(1, question="what \ud800?"), row(2, question="Wh!re?")]
    lines = "\n".join(map(json.dumps, rows)).encode()
    (tmp_path / "q.jsonl").write_bytes(lines.replace(b"!", b"\xe9"))
    (tmp_path / "plain.jsonl").write_bytes(lines.replace(b"!", b"\xe9").replace(b"\\ud800", b""))
    document = json.dumps(nested(rows)).encode()
    (tmp_path / "q.json").write_bytes(document.replace(b"!", b"\xe9"))
    for name, good in (("q.jsonl", ["q0"]), ("q.json", ["q0"]), ("plain.jsonl", ["q0", "q1"])):
        settings = DataSettings(source=str(tmp_path / name), bad_row_limit=1.0)
        assert ids(load_questions(settings, "train", quarantine_dir=str(tmp_path))) == good
        quarantined = quarantine(tmp_path)
        assert {line["reason"] for line in quarantined} == {"a text is not valid UTF-8"}
        assert quarantined[-1]["question"] == "Wh\\xe9re?"


# -- what is damaged or of another kind


def test_missing_and_mistyped_columns_are_all_named(tmp_path):
    columns = {"id": [1], "title": ["t"], "question": [True]}
    answers = pa.array([{"span_of": "a"}])
    pq.write_table(pa.table({**columns, "answers": answers}), tmp_path / "q.parquet")
    message = refusal(tmp_path / "q.parquet")
    for problem in (
        "question is bool, not text",
        "context is missing",
        "answers.text is missing",
        "it has id, title, question, answers",
    ):
        assert problem in message


def test_json_lines_of_another_shape_are_named_by_line(tmp_path):
    file = tmp_path / "q.jsonl"
    file.write_text('{"id": "1", "text": "x"}\n' * 3)
    assert "context is missing; question is missing" in refusal(file)
    file.write_text("\n".join([json.dumps(row(0)), "[1]"]))
    assert "line 2" in refusal(file)
    file.write_text("\n".join(map(json.dumps, [row(0), row(1, context={"a": 1})])))
    assert "wrong type in context" in refusal(file)


@pytest.mark.parametrize("name", ["q.parquet", "q.jsonl", "q.json"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, name, kept):
    file = Path(write(tmp_path / name, ROWS))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    assert str(file) in refusal(file)


def test_a_parquet_file_that_is_damaged_inside_is_named(tmp_path):
    file = Path(write(tmp_path / "q.parquet", ROWS))
    content = bytearray(file.read_bytes())
    content[10:200] = bytes(190)
    file.write_bytes(content)
    assert str(file) in refusal(file)


@pytest.mark.parametrize("place", [0, -1])  # the rows of the file, and of its only group
def test_a_parquet_file_that_tells_fewer_rows_than_it_holds_is_named(tmp_path, place):
    """Arrow would return one row of fifty without a word."""
    path = tmp_path / "train.parquet"
    pq.write_table(embedded.corpus("eval").slice(0, 50), path)
    content = path.read_bytes()
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[begin:-8]
    fifty, one = b"\x16\x64", b"\x16\x02"  # 64-bit whole numbers of a Thrift structure
    at = footer.index(fifty) if place == 0 else footer.rindex(fifty)
    path.write_bytes(content[:begin] + footer[:at] + one + footer[at + 2 :] + content[-8:])
    assert "counts of rows in its footer disagree" in refusal(path)


def test_a_file_that_changes_while_it_is_read_is_read_whole_or_refused(tmp_path):
    """A writer replaces it in place, over and over, by halves."""
    path = tmp_path / "train.parquet"
    contents = []
    for size in (50, 400):
        pq.write_table(embedded.corpus("eval").slice(0, size), path)
        contents.append(path.read_bytes())
    over = threading.Event()

    def write() -> None:
        for content in itertools.cycle(contents):
            if over.is_set():
                return
            with path.open("wb", buffering=0) as file:
                for half in (content[: len(content) // 2], content[len(content) // 2 :]):
                    file.write(half)

    writer = threading.Thread(target=write)
    writer.start()
    sizes, num_refused = set(), 0
    try:
        for _ in range(200):
            try:
                sizes.add(load(str(path)).table.num_rows)
            except DataError:
                num_refused += 1
    finally:
        over.set()
        writer.join()
    assert sizes <= {50, 400} and num_refused


def test_a_compressed_file_is_refused_before_it_is_unpacked_to_the_end(tmp_path):
    """64 MiB of zeros in 300 KB."""
    path = tmp_path / "train.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(2**20))
    assert "train.json.gz unpacks to more than 100 times" in refusal(path)


def test_json_that_is_not_squad_says_where(tmp_path):
    file = tmp_path / "q.json"
    document = nested(ROWS)
    del document["data"][3]["paragraphs"]
    file.write_text(json.dumps(document))
    assert "article 3: 'paragraphs' is missing" in refusal(file)
    for other in ("[1, 2]", '"data"', '{"data": 3}', '{"data": ["x"]}'):
        file.write_text(other)
        assert str(file) in refusal(file)


def test_no_questions_at_all_is_an_error(tmp_path):
    assert "holds no questions" in refusal(write(tmp_path / "q.parquet", []))
    (tmp_path / "q.json").write_text(json.dumps({"data": []}))
    assert "holds no questions" in refusal(tmp_path / "q.json")
    source = write(tmp_path / "q.jsonl", [row(0, question="")])
    assert "holds no questions that can be used" in refusal(source, bad_row_limit=1.0)


# -- folders


def test_a_folder_holds_splits_by_name_and_parquet_goes_first(tmp_path):
    write(tmp_path / "train-v1.1.parquet", ROWS[:3])
    write(tmp_path / "train-v1.1.json", ROWS[:4])
    write(tmp_path / "train-v2.0.json", ROWS[:5])
    write(tmp_path / "validation.jsonl", ROWS[:2])
    write(tmp_path / "test.parquet", ROWS)
    (tmp_path / "train-notes.txt").write_text("no questions")
    assert len(load(tmp_path)) == 3
    assert len(load(tmp_path, version="2.0")) == 5
    assert len(load(tmp_path, "eval")) == len(load(tmp_path, "eval", version="2.0")) == 2


def test_what_is_ambiguous_or_absent_lists_what_is_there(tmp_path):
    write(tmp_path / "dev-v2.0.parquet", ROWS)
    message = refusal(tmp_path, "eval")
    assert "version 1.1" in message and "dev-v2.0.parquet" in message
    assert "holds no train* file" in refusal(tmp_path)
    write(tmp_path / "dev.parquet", ROWS)
    write(tmp_path / "validation.parquet", ROWS)
    message = refusal(tmp_path, "eval")
    assert "dev.parquet, validation.parquet" in message and "--data.eval-source" in message


def test_shards_without_a_manifest_are_read_in_order_and_must_all_be_there(tmp_path):
    for index in (2, 0, 1):
        write(tmp_path / f"train-{index:05d}-of-00003.parquet", ROWS[index * 10 : index * 10 + 10])
    assert ids(load(tmp_path)) == [f"q{number}" for number in range(30)]
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    assert "lacks 1 of 3 shards: train-00001-of-00003.parquet" in refusal(tmp_path)


def test_a_single_file_is_any_split_and_eval_source_takes_precedence(tmp_path):
    source = write(tmp_path / "mine.jsonl", ROWS)
    other = write(tmp_path / "other.jsonl", ROWS[:5])
    assert len(load(source)) == len(load(source, "eval")) == 40
    assert len(load(source, eval_source=other)) == 40
    assert len(load(source, "eval", eval_source=other)) == 5


@pytest.mark.parametrize(
    ("source", "settings", "expected"),
    [
        ("embedded", {}, ("train", "eval")),
        ("rajpurkar/squad", {"holdout_articles": 0.1}, ("train", "eval", "holdout")),
        ("{}", {}, ("train", "eval")),
        ("{}/train.jsonl", {}, ("train",)),
        ("{}/train.jsonl", {"holdout_articles": 0.1}, ("train", "holdout")),
        ("{}/train.jsonl", {"eval_source": "{}"}, ("train", "eval")),
        ("{}/train.jsonl", {"eval_source": "{}/dev.jsonl"}, ("train", "eval")),
        ("{}/only-dev", {"holdout_articles": 0.1}, ("eval",)),
    ],
)
def test_a_job_can_ask_which_splits_there_are(tmp_path, source, settings, expected):
    write(tmp_path / "train.jsonl", ROWS)
    write(tmp_path / "dev.jsonl", ROWS)
    (tmp_path / "only-dev").mkdir()
    shutil.copy(tmp_path / "dev.jsonl", tmp_path / "only-dev")
    named = {
        key: value.format(tmp_path) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    assert splits_of(DataSettings(source=source.format(tmp_path), **named)) == expected


# -- names and URLs


def test_urls_of_files_and_folders(tmp_path):
    write(tmp_path / "train.parquet", ROWS)
    assert len(load(tmp_path.as_uri())) == len(load(f"{tmp_path.as_uri()}/train.parquet")) == 40
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "train.parquet"), "/questions/train.parquet")
    assert len(load("memory://questions")) == 40
    assert len(load("memory://questions/train.parquet")) == 40
    assert "memory://elsewhere" in refusal("memory://elsewhere")
    memory.rm("/questions", recursive=True)


def test_a_path_relative_to_here_or_to_home(tmp_path, monkeypatch):
    write(tmp_path / "train.parquet", ROWS)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load(tmp_path.name)) == len(load("~/train.parquet")) == 40


@pytest.mark.parametrize("source", ["/no/such/folder", "./nothing", "no/such.json", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(source):
    start = time.monotonic()
    assert f"no file or folder {source}" in refusal(source)
    assert time.monotonic() - start < 1


def test_a_url_that_nothing_understands_is_refused():
    with pytest.raises(ConfigError, match="nosuch://"):
        load("nosuch://bucket/file")


def test_a_file_of_an_unknown_format_is_refused(tmp_path):
    (tmp_path / "train.pdf").write_text("id,question\n")
    assert ".parquet, .arrow" in refusal(tmp_path / "train.pdf")


def test_the_embedded_corpus_is_a_source_like_any_other():
    train, dev = load("embedded"), load("embedded", "eval")
    assert len(train) >= 3000 and len(dev) >= 500
    assert train.num_quarantined == dev.num_quarantined == 0
    assert not set(train.titles) & set(dev.titles)


# -- rows of a split


def test_limits_take_a_fixed_sample_in_the_order_of_the_file(tmp_path):
    source = write(tmp_path / "q.parquet", ROWS)
    everything = ids(load(source))
    ten, three = (ids(load(source, train_limit=limit, eval_limit=1)) for limit in (10, 3))
    assert [name for name in everything if name in ten] == ten
    assert len(ten) == 10 and len(three) == 3
    assert set(three) < set(ten)
    assert ten != everything[:10]
    assert ids(load(source, train_limit=10)) == ten
    assert len(load(source, "eval", train_limit=3, eval_limit=1)) == 1
    assert len(load(source, train_limit=1000)) == 40


def test_held_out_articles_never_reach_training(tmp_path):
    rows = [row(number, title=f"article {number // 4}") for number in range(400)]
    source = write(tmp_path / "q.parquet", rows)
    train, held = (load(source, split, holdout_articles=0.2) for split in ("train", "holdout"))
    assert 5 <= len(held.titles) <= 40
    assert not set(train.titles) & set(held.titles)
    assert sorted(ids(train) + ids(held)) == sorted(line["id"] for line in rows)
    # Chosen by title alone: neither the order nor the other articles matter, a larger share adds.
    half = write(tmp_path / "half.parquet", rows[:199:-1])
    of_half = load(half, "holdout", holdout_articles=0.2)
    assert set(of_half.titles) == {f"article {n}" for n in range(50, 100)} & set(held.titles)
    assert set(held.titles) < set(load(source, "holdout", holdout_articles=0.4).titles)
    # Limits count what is left, so that training sees as many rows as asked for.
    limited = load(source, holdout_articles=0.2, train_limit=50)
    assert len(limited) == 50
    assert set(ids(limited)) < set(ids(train))


def test_holding_out_too_little_or_nothing_is_an_error(tmp_path):
    source = write(tmp_path / "q.parquet", ROWS)
    assert "leaves none for holdout" in refusal(source, "holdout", holdout_articles=1e-6)
    assert "leaves none for holdout" in refusal(source, "holdout")
    assert "leaves none for train" in refusal(source, holdout_articles=0.9999)


# -- bad rows


def spoil(rows: list[dict[str, Any]], number: int, **changes: Any) -> list[dict[str, Any]]:
    return [line | changes if line["id"] == f"q{number}" else line for line in rows]


def test_bad_rows_are_set_aside_with_their_reason(tmp_path):
    source = write(tmp_path / "train.parquet", spoil(spoil(ROWS, 7, question=" "), 9, id="q8"))
    settings = DataSettings(source=source, bad_row_limit=0.05)
    loaded = load_questions(settings, "train", quarantine_dir=str(tmp_path / "run"))
    assert loaded.num_quarantined == 2
    assert ids(loaded) == [line["id"] for line in ROWS if line["id"] not in ("q7", "q9")]
    lines = quarantine(tmp_path / "run")
    assert [(line["file"], line["row"], line["reason"]) for line in lines] == [
        (source, 7, "the question is empty"),
        (source, 9, "another row has the same id"),
    ]
    assert {key: lines[1][key] for key in ROWS[9]} == ROWS[9] | {"id": "q8"}


def test_too_many_bad_rows_stop_the_load_and_are_written_all_the_same(tmp_path):
    first, second = ROWS[:20], spoil(spoil(ROWS[20:], 25, question=""), 27, context="Elsewhere.")
    write(tmp_path / "train-00000-of-00002.parquet", first)
    write(tmp_path / "train-00001-of-00002.parquet", second)
    settings = DataSettings(source=str(tmp_path))
    with pytest.raises(DataError) as caught:
        load_questions(settings, "train", quarantine_dir=f"{tmp_path.as_uri()}/out")
    assert "2 of 40 rows" in caught.value.problem
    assert (
        "train-00001-of-00002.parquet row 5: the question is empty (id 'q25', question: '')"
        in caught.value.problem
    )
    assert "1 because an answer does not stand at its offset" in caught.value.problem
    assert "--data.bad-row-limit 0.05" in caught.value.remedy
    assert len(quarantine(tmp_path / "out")) == 2
    assert len(load(tmp_path, bad_row_limit=0.05)) == 38


# -- the real thing


@pytest.mark.squad
@pytest.mark.parametrize(
    ("split", "version", "num_questions", "num_articles"),
    [("train", "1.1", 87_599, 442), ("eval", "1.1", 10_570, 48), ("eval", "2.0", 11_873, 35)],
)
def test_all_of_squad_is_there_and_sound(squad_dir, split, version, num_questions, num_articles):
    loaded = load(squad_dir, split, version=version)
    assert (len(loaded), len(loaded.titles)) == (num_questions, num_articles)
    assert loaded.num_quarantined == 0
    assert loaded.has_unanswerable == (version == "2.0")


@pytest.mark.squad
def test_the_official_json_of_squad_equals_its_parquet(squad_dir):
    from_json, from_parquet = (
        load(squad_dir / f"dev-v1.1.{suffix}", "eval") for suffix in ("json", "parquet")
    )
    assert from_json.table.equals(from_parquet.table)
    assert from_json.fingerprint == from_parquet.fingerprint


@pytest.mark.squad
def test_the_train_file_of_squad_has_no_version_2(squad_dir):
    assert "train-v1.1.parquet" in refusal(squad_dir, version="2.0")
