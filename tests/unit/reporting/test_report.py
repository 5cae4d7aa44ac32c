"""Reports of hand-written run folders: every figure as in the files, and nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib import reporting
from qa_lib.errors import ConfigError
from qa_lib.reporting import charts, layers, pages
from qa_lib.reporting.content import Figures, leaves
from qa_lib.reporting.facts import read
from qa_lib.reporting.pages.text import figure, num_bytes, pieces
from qa_lib.runs.run_folder import RunFolder
from tests.support.page import HOSTILE, PLOTLY, Page, number
from tests.support.report_runs import write_run

JOBS = ("train", "evaluate", "adjust", "tune")


def page_of(run: RunFolder) -> Page:
    return Page(Path(reporting.write(run)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    folder = tmp_path_factory.mktemp("runs")
    return {job: write_run(folder / job, job) for job in JOBS}


@pytest.fixture(scope="module")
def shown(runs: dict[str, RunFolder]) -> dict[str, Page]:
    return {job: page_of(run) for job, run in runs.items()}


@pytest.mark.parametrize("job", JOBS)
def test_every_figure_is_that_of_result_json(job: str, runs: Any, shown: dict[str, Page]):
    result = json.loads((Path(runs[job].root) / "result.json").read_text())
    fields = shown[job].fields
    for path, text in fields:
        value = Figures(result).get(path)
        if path.endswith("_bytes") and text.endswith("B"):
            assert text == num_bytes(value), path
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            decimals = len(text.partition(".")[2].partition("e")[0])
            assert number(text) == pytest.approx(value, abs=0.51 * 10.0**-decimals, rel=6e-3), path
        else:
            assert text == figure(value), path
    assert {path for path, _ in leaves(result)} <= {path for path, _ in fields}
    for field in ("f1", "em", "semantic", "intervals.f1.0", "intervals.f1.1"):
        assert [path for path, _ in fields].count(field) >= 3, "tile, table and the list of all"


@pytest.mark.parametrize("job", JOBS)
def test_throughput_and_memory_have_their_place_in_every_run(job: str, shown: dict[str, Page]):
    assert ("a", "href", "#speed") in shown[job].attributes
    assert "Throughput and memory" in shown[job].text
    fields = [name for name, _ in shown[job].fields]
    assert fields.count("eval_peak_memory_bytes") == 2, "there, and in the list of all"
    assert fields.count("peak_memory_bytes") == (0 if job == "evaluate" else 2)


def test_the_library_of_charts_is_where_there_are_charts(tmp_path: Path):
    run = write_run(tmp_path / "mine", "evaluate")
    assert PLOTLY in [text for _, text in page_of(run).scripts]
    Path(run.root, "analysis.json").unlink()
    assert Path(reporting.write(run)).stat().st_size < 50_000


@pytest.mark.parametrize("job", JOBS)
def test_nothing_is_shown_as_a_gap_in_the_program(job: str, shown: dict[str, Page]):
    assert not re.search(r"\b(nan|None|undefined|Undefined)\b", shown[job].text)


def test_breakdowns_and_charts_are_those_of_the_files(runs: Any, shown: dict[str, Page]):
    root, page = Path(runs["tune"].root), shown["tune"]
    analysis = json.loads((root / "analysis.json").read_text())
    table = [[cell.strip() for cell in row] for row in page.rows]
    for parts in analysis["breakdowns"].values():
        for part in parts:
            scores = [f"{part[key]:.2f}" for key in ("f1", "em", "semantic")]
            assert [part["name"], f"{part['num_questions']:,}", *scores] in table
    metrics = runs["tune"].read_metrics()
    loss = page.chart("loss")["data"][0]
    assert loss["x"] == [row["step"] for row in metrics]
    assert loss["y"] == [row["loss"] for row in metrics]
    assert page.chart("learning_rate")["data"][0]["y"] == [row["lr"] for row in metrics]
    bins = page.chart("reliability")["data"][1]
    assert bins["y"] == [each["accuracy"] for each in analysis["calibration"]["bins"]]
    chosen = page.chart("front")["data"][-1]
    assert chosen["name"] == "chosen" and len(chosen["x"]) == 1


def test_a_break_between_attempts_is_a_gap_in_the_speed():
    rows = [{"step": n, "num_windows": 8, "time": 1e9 + n + 3600 * (n > 50)} for n in range(1, 101)]
    (line,) = charts.speeds(rows)["data"]
    speed = dict(zip(line["x"], line["y"], strict=True))
    assert speed.pop(51) is None
    assert set(speed.values()) == {8.0} and max(speed) == 100
    assert charts.speeds(rows[:1]) is None
    assert charts.speeds([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]) is None


def test_a_point_of_the_front_tells_its_setting(shown: dict[str, Page]):
    hovers = [t for trace in shown["tune"].chart("front")["data"] for t in trace.get("text", [])]
    assert len(hovers) == 12  # of thirteen, one crashed
    assert all("intermediate" in text and "learning rate" in text for text in hovers)


def test_layers_before_and_after_the_cut_are_drawn_to_scale(shown: dict[str, Page]):
    page = shown["adjust"]
    feeds = [page.attributes[i + 3 : i + 4] for i in _places(page, "feed")]
    widths = [float(value) for found in feeds for _, name, value in found if name == "width"]
    assert len(widths) == 6 + 4 and page.text.count("removed") >= 2
    assert widths[6] / widths[0] == pytest.approx(768 / 1536, abs=0.01)
    rows = [[cell.strip() for cell in row] for row in page.rows]
    assert ["layers", "6", "4"] in rows and ["vocabulary", "30,522", "21,009"] in rows


def test_layers_that_keep_different_widths_are_drawn_so(tmp_path: Path):
    run = write_run(tmp_path / "mine", "adjust")
    plan = json.loads(run.read_text("plan.json"))
    plan["keep"]["intermediate"][2] = list(range(384))
    run.write_text("plan.json", json.dumps(plan))
    html = Path(reporting.write(run)).read_text()
    assert html.count("intermediate 768<") == 3 and html.count("intermediate 384<") == 1


def test_layers_of_a_ragged_model_are_drawn_each_with_its_own(tmp_path: Path):
    """The fields of result.json are means there: no layer has them."""
    heads, widths = [12, 6, 0, 3], [768, 1536, 96, 0]
    blocks = {"num_heads": heads, "intermediate_size": widths}
    means = {"num_heads": 7, "intermediate_size": 800, "kept_layers": [0, 2, 3, 5]}
    run = write_run(tmp_path / "mine", "adjust", blocks=blocks, **means)
    plan = json.loads(run.read_text("plan.json"))
    plan["keep"] |= {
        "heads": [list(range(count)) for count in heads],
        "value": [list(range(32 * count)) for count in heads],
        "intermediate": [list(range(width)) for width in widths],
    }
    run.write_text("plan.json", json.dumps(plan))
    sides = layers.picture(read(run))["sides"]
    whole, after = ([layer["parts"] for layer in side["layers"]] for side in sides)
    assert [bool(parts) for parts in after] == [True, False, True, True, False, True]
    kept = [after[number] for number in means["kept_layers"]]
    full, attention = whole[0][1]["width"], whole[0][0]["width"]
    for parts, count, width in zip(kept, heads, widths, strict=True):
        drawn = dict(zip(("attention", "feed"), parts, strict=True))
        for kind, share, all_of_it in (
            ("attention", count / 12, attention),
            ("feed", width / 1536, full),
        ):
            part = drawn[kind]
            assert part["kind"] == (kind if share else "gone")
            assert part["width"] == pytest.approx((share or 1) * all_of_it, abs=0.06)
    labels = [part["label"] for parts in kept for part in parts]
    assert labels[2:4] == ["6 heads, hidden 384", "intermediate 1,536"]
    assert labels[4] == "attention removed" and labels[7] == "feed-forward part removed"
    rows = [[cell.strip() for cell in row] for row in page_of(run).rows]
    assert ["attention heads", "12", "0 to 12"] in rows
    assert ["intermediate size", "1,536", "0 to 1,536"] in rows


def test_a_ragged_plan_as_it_is_made_says_what_result_json_says(tmp_path: Path):
    from qa_lib import adjust
    from qa_lib.adjust import prune
    from qa_lib.config import AdjustSettings
    from tests.support.adjust_models import plan_of, tiny, windows

    parent = tiny("bert")
    wish = AdjustSettings(ragged=True, num_heads=2, intermediate_size=12, drop_attention=(1,))
    sizes = adjust.resolve(parent.config, wish)
    plan = plan_of(parent, sizes, [windows(seed=1)], round_to=4)
    fields = prune.sizes_of(plan)
    run = write_run(tmp_path / "mine", "adjust", num_parent_layers=3, **fields)
    run.write_text("plan.json", plan.to_json())
    before, after = layers.picture(read(run))["sides"]
    attention = before["layers"][0]["parts"][0]["width"]
    full = before["layers"][0]["parts"][1]["width"]
    assert fields["blocks"]["num_heads"][1] == 0
    for layer, heads, width in zip(after["layers"], *fields["blocks"].values(), strict=True):
        one, other = layer["parts"]
        share = heads / parent.config.num_attention_heads
        assert one["width"] == pytest.approx((share or 1) * attention, abs=0.06)
        assert other["width"] == pytest.approx(
            full * width / parent.config.intermediate_size, abs=0.06
        )
        assert one["label"].startswith(f"{heads} heads" if heads else "attention removed")


def _places(page: Page, kind: str) -> list[int]:
    return [i for i, part in enumerate(page.attributes) if part == ("rect", "class", kind)]


def test_what_an_article_says_cannot_leave_its_place(tmp_path: Path):
    run = write_run(tmp_path / "hostile", "tune", error=HOSTILE)
    text = (tmp_path / "hostile" / "analysis.json").read_text()
    analysis = json.loads(text)
    analysis["breakdowns"]["article"][0]["name"] = HOSTILE
    for case in (*analysis["examples"], *analysis["mistakes"]):
        case |= {"context": HOSTILE + case["context"], "question": HOSTILE, "title": HOSTILE}
    run.write_text("analysis.json", json.dumps(analysis))
    plain, page = page_of(write_run(tmp_path / "plain", "tune")), page_of(run)
    assert len(page.scripts) == len(plain.scripts)
    assert "img" not in page.tags
    assert page.text.count(HOSTILE) > 60
    assert "Most confident mistakes" in page.text
    html = (tmp_path / "hostile" / "report.html").read_text()
    assert "alert(1)</script>" not in html


def test_data_for_scripts_cannot_end_its_element(tmp_path: Path, monkeypatch: Any):
    plain = page_of(write_run(tmp_path / "plain", "tune"))
    monkeypatch.setattr(charts, "_trial", lambda row: HOSTILE)
    page = page_of(write_run(tmp_path / "hostile", "tune"))
    hovers = [t for trace in page.chart("front")["data"] for t in trace.get("text", [])]
    assert hovers == 12 * [HOSTILE]
    assert len(page.scripts) == len(plain.scripts)
    assert page.tags == plain.tags


def test_what_a_trial_says_is_no_html_when_hovered(tmp_path: Path):
    run = write_run(tmp_path / "mine", "tune")
    rows = pq.read_table(tmp_path / "mine" / "trials.parquet").to_pylist()
    for row in rows:
        row["importance"] = HOSTILE
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine" / "trials.parquet")
    hover = page_of(run).chart("front")["data"][1]["text"][0]
    assert "&lt;/script>" in hover and "<script" not in hover  # plotly reads a little HTML


@pytest.mark.parametrize("job", JOBS)
def test_the_page_asks_for_nothing_and_runs_only_its_own_scripts(job: str, shown: dict[str, Page]):
    page = shown[job]
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action", "data"):
            assert value.startswith(("#", "data:")), f"<{tag} {name}={value}>"
    (policy,) = [
        value for _, name, value in page.attributes if name == "content" and "src" in value
    ]
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    for attributes, text in page.scripts:
        if attributes.get("type") != "application/json":
            text = pages.plotly() if text == PLOTLY else text
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_an_old_run_gets_a_report_of_what_it_has(tmp_path: Path):
    run = RunFolder(str(tmp_path / "old"), "train")
    (tmp_path / "old").mkdir()
    run.write_json("result.json", {"f1": 79.7, "em": 77.22, "num_questions": 540, "num_layers": 6})
    run.write_text("config.yaml", "gone_by_now: {setting: 3}\nmodel: {name: embedded}\n")
    page = page_of(run)
    assert ("f1", "79.70") in page.fields and "gone_by_now.setting" in page.text
    assert not [a for a, _ in page.scripts if "id" in a]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("analysis.json", '{"breakdowns": {'),
        ("analysis.json", "[1, 2]"),
        ("config.yaml", "a: [b"),
        ("plan.json", "null"),
        ("trials.parquet", "no parquet"),
        ("scores.parquet", "PAR1"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str, content: str):
    run = write_run(tmp_path / "mine", "tune")
    run.write_text(name, content)
    page = page_of(run)
    assert f"{name} cannot be read and is left out" in page.text
    assert ("f1", f"{run.read_result()['f1']:.2f}") in page.fields


def test_a_file_of_another_shape_loses_no_finished_run(tmp_path: Path, capsys: Any):
    run = write_run(tmp_path / "of $(touch x) mine")
    run.write_text("analysis.json", '{"examples": [{"question": 3}], "breakdowns": 7}')
    line = reporting.draw(run)
    assert line.startswith("warning: report.html could not be drawn")
    assert f"`python -m jobs.report '{run.path}'`" in line
    assert "Traceback" in capsys.readouterr().err
    assert run.read_result()["status"] == "done"


def test_the_command_that_repeats_a_run_can_be_pasted(tmp_path: Path):
    run = write_run(tmp_path / "of $(touch x) mine", "train")
    assert f"--recipe '{run.path}/config.yaml'" in page_of(run).text


def test_a_report_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path):
    run = write_run(tmp_path / "mine", "train")
    (tmp_path / "mine" / "report.html").mkdir()
    with pytest.raises(ConfigError, match="report.html cannot be written"):
        reporting.write(run)


def test_what_is_no_run_folder_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="not a run folder"):
        reporting.write(RunFolder(str(tmp_path), "report"))


def test_marks_are_where_the_answers_are():
    case = {"context": "Ann built the bridge in 1890, says Bo.", "char_start": 0, "char_end": 3}
    case |= {"gold": ["in 1890", "1890"], "gold_start": 21}
    assert pieces(case) == [
        ("Ann", "answer"),
        (" built the bridge ", ""),
        ("in 1890", "gold"),
        (", says Bo.", ""),
    ]
    both = pieces(case | {"gold": ["Ann built"], "gold_start": 0})
    assert both[:2] == [("Ann", "both"), (" built", "gold")]
    assert "".join(text for text, _ in pieces(case)) == case["context"]
    # What stands there twice is underlined where it is meant.
    twice = pieces(case | {"gold": ["b"], "gold_start": 14})
    assert twice[2] == ("b", "gold") and twice[1] == (" built the ", "")
    # What does not stand where it is said to, is not.
    for start in (None, 20, -3, 99):
        assert {kind for _, kind in pieces(case | {"gold_start": start})} == {"answer", ""}
    assert pieces({"context": "Ann.", "gold": [], "char_start": None, "char_end": None}) == [
        ("Ann.", "")
    ]
    assert pieces(case | {"gold": [], "gold_start": None}, around=6) == [
        ("Ann", "answer"),
        (" built ", ""),
        (" … ", "gap"),
    ]


def test_an_excerpt_of_twenty_megabytes_is_short_and_quick():
    context = "Ann built the bridge. " * 950_000
    case = {"context": context, "char_start": 10**7, "char_end": 10**7 + 9}
    case |= {"gold": ["nn"], "gold_start": 1}
    started = time.process_time()
    parts = pieces(case, around=160)
    assert time.process_time() - started < 2
    assert [kind for _, kind in parts] == ["", "gold", "", "gap", "", "answer", "", "gap"]
    assert sum(len(text) for text, _ in parts) < 1_500
    without_spaces = pieces({"context": "x" * 10**7, "char_start": 10**6, "char_end": 10**6 + 1}, 5)
    assert sum(len(text) for text, _ in without_spaces) < 300


def test_the_report_is_small_and_its_plotly_is_what_figures_are_written_for(tmp_path: Path):
    from plotly.offline import get_plotlyjs_version

    assert f"v{get_plotlyjs_version()}\n" in pages.plotly()[:100]
    assert Path(reporting.write(write_run(tmp_path / "mine", "tune"))).stat().st_size < 1.5e6


def test_a_run_that_was_not_evaluated_says_so(tmp_path: Path):
    run = RunFolder(str(tmp_path / "mine"), "train")
    (tmp_path / "mine").mkdir()
    run.write_json("result.json", {"job": "train", "status": "done", "num_questions": 0})
    text = page_of(run).text
    assert "mine was not evaluated: its source has no eval split" in text
    assert "scored on" not in text


@pytest.mark.parametrize(("split", "named"), [("eval", "faq.json"), ("holdout", "embedded")])
def test_scores_are_told_of_the_questions_that_were_scored(tmp_path: Path, split: str, named: str):
    run = RunFolder(str(tmp_path / "mine"), "evaluate")
    (tmp_path / "mine").mkdir()
    result = {"job": "evaluate", "status": "done", "f1": 1.0, "num_questions": 3, "total": 4}
    run.write_json("result.json", result | {"eval_split": split})
    run.write_text("config.yaml", "data: {source: embedded, eval_source: faq.json}\n")
    text = page_of(run).text
    assert f"on {named}" in " ".join(text.split()) and "over 4 questions" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (12, "12 bytes"), (90_300_000, "86 MiB"), (3_300_000_000, "3.1 GiB")],
)
def test_bytes_have_a_unit(value: int | None, text: str):
    assert num_bytes(value) == text
