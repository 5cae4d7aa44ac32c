"""jobs.answer: one question, a prompt, and JSON lines through Ray."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jobs import answer
from qa_lib import config
from qa_lib.data import embedded
from qa_lib.errors import ConfigError, DataError, ModelError
from qa_lib.serving import Answerer, answer_file, converse
from tests.support import tiny

ANN = "Ann Lee built the bridge in 1890."
SHORT = ["--data.max-length", "96", "--data.stride", "24", "--answer.max-question-length", "20"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_model(tmp_path_factory.mktemp("tiny"))


def settings_of(model: str, *flags: str) -> config.Settings:
    return config.parse("answer", [*SHORT, "--model.name", model, *flags])


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def write_lines(path: Path, lines: list) -> str:
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    return str(path)


def test_one_question_prints_what_the_answerer_returns(model, tmp_path, capsys):
    (tmp_path / "context.txt").write_text(ANN)
    asked = ["--answer.question", "Who?", "--answer.context"]
    answer.JOB.execute(settings_of(model, *asked, ANN))
    printed = json.loads(capsys.readouterr().out)
    expected = Answerer(model)("Who?", ANN, max_seq_len=96, doc_stride=24)
    assert printed == pytest.approx(expected)
    answer.JOB.execute(settings_of(model, *asked, f"@{tmp_path}/context.txt"))
    assert json.loads(capsys.readouterr().out) == printed
    answer.JOB.execute(settings_of(model, *asked, ANN, "--model.placement", "disk"))
    assert json.loads(capsys.readouterr().out) == printed


def test_a_prompt_answers_until_the_input_ends(model, capsys):
    typed = iter(["@/no/such/file", ANN, "Who?", "When?", "", "Bob slept.", "Who?"])

    def read(prompt: str) -> str:
        line = next(typed, None)
        if line is None:
            raise EOFError
        return line

    converse(settings_of(model, "--answer.top-k", "2"), read)
    printed = capsys.readouterr().out
    assert "/no/such/file cannot be read" in printed
    assert printed.count(", characters ") == 6
    assert next(typed, None) is None


@pytest.mark.usefixtures("ray_session")
def test_a_file_is_answered_line_by_line_in_order(model, tmp_path):
    rows = embedded.corpus("eval").slice(0, 280).select(["id", "question", "context"]).to_pylist()
    rows[3]["note"] = "line\u2028separator"
    source = write_lines(tmp_path / "in.jsonl", rows)
    output = tmp_path / "new" / "out.jsonl"
    flags = ["--answer.input", source, "--answer.output", str(output)]
    settings = settings_of(model, *flags, "--answer.top-k", "2")
    result = answer_file(settings)
    assert result["num_questions"] == 280
    lines = lines_of(output)
    predictions = [line.pop("prediction") for line in lines]
    assert lines == rows
    some = slice(250, 270)
    options = {"max_seq_len": 96, "doc_stride": 24, "max_question_len": 20, "top_k": 2}
    texts = ([row[name] for row in rows[some]] for name in ("question", "context"))
    for one, other in zip(predictions[some], Answerer(model)(*texts, **options), strict=True):
        assert [each["answer"] for each in one] == [each["answer"] for each in other]
    with pytest.raises(ConfigError, match="exists"):
        answer_file(settings)
    assert [path.name for path in output.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.slow
def test_what_an_actor_cannot_do_comes_back_as_it_is_and_leaves_no_file(model, tmp_path):
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["qa_outputs.bias"] = weights["qa_outputs.bias"] * np.nan
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    source = write_lines(tmp_path / "in.jsonl", [{"question": "Who?", "context": ANN}])
    flags = ["--answer.input", source, "--answer.output", str(tmp_path / "out" / "out.jsonl")]
    with pytest.raises(ModelError, match="not finite"):
        answer_file(settings_of(str(broken), *flags))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not JSON"),
        ('["Who?"]', "line 2 has no question"),
        ('{"question": "Who?"}', "line 2 has no context"),
        ('{"question": " ", "context": "Ann did."}', "line 2 has no question"),
        ('{"question": "Who \\ud800?", "context": "Ann did."}', "line 2 is not Unicode"),
        ('{"question": "Who?", "context": "Ann.", "title": "\\ud83d"}', "line 2 is not Unicode"),
    ],
)
def test_a_bad_line_is_named_before_anything_starts(tmp_path, line, words):
    good = json.dumps({"question": "Who?", "context": ANN})
    text = f"{good}\n{line}\n{good}\n"
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8-sig")  # with a byte order mark
    flags = ["--answer.input", f"{tmp_path}/in.jsonl", "--answer.output", f"{tmp_path}/out.jsonl"]
    with pytest.raises(DataError, match=words):
        answer_file(settings_of("no-such-model", *flags))


@pytest.mark.parametrize("name", ["a-file/out.jsonl", "a-folder", "long" * 70])
def test_an_output_that_cannot_be_is_refused_before_anything_starts(
    model, tmp_path, name, monkeypatch
):
    monkeypatch.setattr("qa_lib.serving.batch.start_ray", lambda: pytest.fail("Ray was started"))
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a-folder").mkdir()
    source = write_lines(tmp_path / "in.jsonl", [{"question": "Who?", "context": ANN}])
    flags = ["--answer.input", source, "--answer.output", str(tmp_path / name), "--overwrite"]
    with pytest.raises(ConfigError, match="cannot be used"):
        answer_file(settings_of(model, *flags))
    assert {path.name for path in tmp_path.iterdir()} == {"a-file", "a-folder", "in.jsonl"}


@pytest.mark.usefixtures("ray_session")
def test_a_question_without_room_is_named_by_its_line(model, tmp_path):
    good = {"question": "Who?", "context": ANN}
    rows = [good] * 258 + [{"question": "Who built it? " * 30, "context": ANN}]
    (tmp_path / "in.jsonl").write_text("\n" + "\n".join(map(json.dumps, rows)))
    flags = ["--answer.input", f"{tmp_path}/in.jsonl", "--answer.output", f"{tmp_path}/out.jsonl"]
    narrow = ["--data.max-length", "23", "--data.stride", "4"]
    with pytest.raises(ConfigError, match="in.jsonl line 260 leaves no room"):
        answer_file(settings_of(model, *flags, *narrow))


def test_a_model_that_never_learned_to_answer_is_refused(tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [{"question": "Who?", "context": ANN}])
    flags = ["--answer.input", source, "--answer.output", str(tmp_path / "out.jsonl")]
    with pytest.raises(ModelError, match="never trained"):
        answer_file(settings_of("embedded", *flags))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--answer.input", "a.jsonl"], "belong together"),
        (["--answer.question", "Who?"], "needs answer.context"),
        (
            ["--answer.input", "a", "--answer.output", "b", "--answer.context", "c"],
            "its lines hold both",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(model, flags, words):
    with pytest.raises(ConfigError, match=words):
        settings_of(model, *flags)
