"""Runs side by side: the figures are the runs' own, and the paired ones those of `scores`."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import jobs.compare
import jobs.report
from qa_lib.errors import ConfigError
from qa_lib.evaluation import analysis
from qa_lib.reporting import compare
from qa_lib.reporting.pages.text import num_bytes
from qa_lib.runs import lock
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder
from tests.support.page import Page
from tests.support.report_runs import write_fields, write_run, write_scores


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    folder = tmp_path_factory.mktemp("runs")
    one, other = write_run(folder / "one", "train"), write_run(folder / "other", "adjust")
    write_fields(other, write_scores(other, quality=0.5, seed=2))
    return [one, other]


def test_figures_are_those_of_the_runs_and_of_the_paired_test(runs: list[RunFolder]):
    found = compare.compare([run.path for run in runs])
    text = compare.table(found, width=160)
    results = [run.read_result() for run in runs]
    for key in ("f1", "em", "semantic"):
        for result in results:
            low, high = result["intervals"][key]
            assert f"{result[key]:.2f} ({low:.2f}–{high:.2f})" in text
    paired = analysis.compare_tables(*(analysis.read(run) for run in runs))["f1"]
    assert paired.difference == pytest.approx(results[1]["f1"] - results[0]["f1"], abs=1e-3)
    assert f"F1: other is {paired.difference:+.2f} against one" in text
    assert f"p = {paired.p_value:.3g}" in text and paired.p_value < 0.05
    assert "22,566,146" in text and "15,000,002" in text and "30.50" in text
    assert num_bytes(results[0]["peak_memory_bytes"]) in text
    assert num_bytes(results[0]["eval_peak_memory_bytes"]) in text
    # Settings: only what differs.
    assert "model.name" in text and "train.num_workers" not in text


def test_the_page_holds_the_same(runs: list[RunFolder], tmp_path: Path):
    found = compare.compare([run.path for run in runs])
    place = compare.write(found, str(tmp_path))
    html = Path(place).read_text()
    assert re.fullmatch(r"compare-one-other-[0-9a-f]{8}\.html", Path(place).name)
    text = re.sub(r"<[^>]+>", "", html[html.index("<main") :])
    for row in (*found["scores"], *found["costs"], *found["settings"]):
        assert all(shown in text for shown in row["texts"])
    assert [trace["y"][0] for trace in Page(html).chart("scores")["data"]] == [
        run.read_result()["f1"] for run in runs
    ]


def test_the_speed_of_an_evaluation_is_no_speed_of_training(tmp_path: Path):
    trained = write_run(tmp_path / "trained", windows_per_s=85.0, eval_windows_per_s=900.0)
    evaluated = write_run(tmp_path / "evaluated", "evaluate", windows_per_s=1200.0)
    costs = {
        row["path"]: row["values"]
        for row in compare.compare([trained.path, evaluated.path])["costs"]
    }
    assert costs["windows_per_s"] == [85.0, None]
    assert costs["eval_windows_per_s"] == [900.0, 1200.0]


def test_what_a_run_lacks_is_said_and_the_rest_compared(runs: list[RunFolder], tmp_path: Path):
    old = RunFolder(str(tmp_path / "old"), "train")
    (tmp_path / "old").mkdir()
    old.write_result(Evaluated(f1=60.25))
    text = compare.table(compare.compare([old.path, runs[0].path]), width=160)
    assert "60.25" in text and "old has no scores of single questions to pair" in text
    other = write_run(tmp_path / "elsewhere" / "one", "train")
    text = compare.table(compare.compare([runs[0].path, other.path]), width=300)
    assert runs[0].path in text and other.path in text, (
        "two runs of one name are told by their path"
    )


@pytest.mark.parametrize(
    ("status", "fields", "told"),
    [
        ("failed", {"error": "The disk is full."}, "ended failed (The disk is full): its figures"),
        ("interrupted", {}, "ended was interrupted: its figures are not final."),
        ("running", {}, "ended is not done yet: its figures are not final."),
    ],
)
def test_a_run_that_is_not_done_is_said_so(
    runs: list[RunFolder], tmp_path: Path, status: str, fields: dict[str, str], told: str
):
    ended = RunFolder(str(tmp_path / "ended"), "train")
    (tmp_path / "ended").mkdir()
    write_fields(ended, {"status": status, **fields})
    notes = compare.compare([runs[0].path, ended.path])["notes"]
    if status == "running":  # and its process is gone
        assert "no process holds its lock" in notes[0] and "figures" not in str(notes)
        lock.take(ended)
        notes = compare.compare([runs[0].path, ended.path])["notes"]
    assert notes[0].startswith(told)
    assert notes[1:] == ["ended has no scores of single questions to pair."]


def test_semantic_scores_of_different_encoders_are_left_out_and_said(tmp_path: Path):
    folders = [write_run(tmp_path / name).path for name in ("one", "other")]
    for folder, encoder in zip(folders, (b"1", b"2"), strict=True):
        path = Path(folder) / "scores.parquet"
        rows = pq.read_table(path)
        pq.write_table(rows.replace_schema_metadata({b"sentence encoder": encoder}), path)
    text = compare.table(compare.compare(folders), width=200)
    assert "F1: other is" in text and "Semantic: other is" not in text
    assert "one and other: Their semantic scores are of different sentence encoders" in text


def test_runs_without_scores_are_compared_without_a_chart(tmp_path: Path):
    names = []
    for name in ("one", "other"):
        run = RunFolder(str(tmp_path / name), "prepare")
        (tmp_path / name).mkdir()
        run.write_result(Evaluated(num_questions=3))
        names.append(run.path)
    place = Path(compare.write(compare.compare(names), str(tmp_path)))
    assert place.stat().st_size < 50_000 and "evaluated questions" in place.read_text()


def test_other_runs_of_the_same_names_get_a_page_of_their_own(tmp_path: Path):
    places = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        names = [write_run(folder / name, "evaluate").path for name in ("one", "other")]
        places += [compare.write(compare.compare(names), str(tmp_path / "out")) for _ in range(2)]
    assert places[0] == places[1] and places[2] == places[3]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_runs_with_long_names_in_any_script_get_a_page(tmp_path: Path):
    folders = [write_run(tmp_path / (script * 80), "evaluate").path for script in "語x"]
    place = Path(compare.write(compare.compare(folders), str(tmp_path / "out")))
    assert place.is_file() and place.name.startswith(f"compare-{'語' * 40}-")


def test_storage_that_cannot_be_written_is_the_users_to_mend(runs: list[RunFolder], tmp_path: Path):
    found = compare.compare([run.path for run in runs])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        compare.write(found, str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["[squad]", ":smile:", "[/x]", "[bold]", "1 \\[b]"])
def test_the_table_shows_labels_as_they_are(runs: list[RunFolder], name: str):
    found = compare.compare([run.path for run in runs])
    label = f"/d/{name}"
    setting = {"name": name, "texts": [name, label]}
    found |= {"labels": ["one", label], "notes": [f"{label} is odd"], "settings": [setting]}
    found["pairs"] = [pair | {"second": label} for pair in found["pairs"]]
    text = compare.table(found, width=160)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert sum(label in line for line in lines[:4]) == 1, "the header"
    assert sum(line.split()[: len(name.split())] == name.split() for line in lines) == 1
    assert f"F1: {label} is" in text and f"note: {label} is odd" in text


def test_a_label_cannot_leave_its_place(tmp_path: Path):
    """Where two runs share a name, their paths are the labels, in the chart's data too."""
    hostile = tmp_path / "</script><script>alert(1)</script><img src=x>" / "one"
    pages = []
    for folder in (tmp_path / "plain" / "one", hostile):
        other = write_run(folder.parent / "other" / "one", "evaluate")
        found = compare.compare([write_run(folder, "evaluate").path, other.path])
        pages.append(Page(Path(compare.write(found, str(tmp_path / "out"))).read_text()))
    plain, page = pages
    assert page.chart("scores")["data"][0]["name"] == str(hostile)
    assert len(page.scripts) == len(plain.scripts)
    assert page.tags == plain.tags


@pytest.mark.parametrize("names", [[], ["one"]])
def test_fewer_than_two_runs_are_refused(names: list[str], tmp_path: Path):
    with pytest.raises(ConfigError):
        compare.compare(jobs.compare.JOB.parse(names).compare.runs or ())


def test_runs_may_be_the_first_words_or_a_flag():
    for words in (["a", "b", "--seed", "3"], ["--seed", "3", "--compare.runs", "a", "b"]):
        assert jobs.compare.JOB.parse(words).compare.runs == ("a", "b")
    assert jobs.report.JOB.parse(["runs/mine"]).model.name == "runs/mine"


def test_latencies_stand_beside_those_of_the_same_shape(tmp_path: Path):
    """Of 128 positions a pass of 384 tokens has 128: measured first, and once more."""
    shapes = {"long": [(1, 384), (1, 128), (8, 384)], "short": [(1, 128), (1, 128), (8, 128)]}
    for name, passes in shapes.items():
        run = write_run(tmp_path / name, "adjust")
        rows = [
            {"windows": windows, "tokens": tokens, "parent_ms": 9.0, "child_ms": 10.0 + number}
            for number, (windows, tokens) in enumerate(passes)
        ]
        write_fields(run, {"latencies": rows})
    found = compare.compare([str(tmp_path / name) for name in shapes])
    rows = {row["name"]: row["values"] for row in found["costs"] if row["name"].startswith("ms, ")}
    assert rows == {"ms, 1 × 128 tokens": [11.0, 10.0]}
    names = [row["name"] for row in found["costs"]]
    assert len(names) == len(set(names))
