"""The slim service: the answers of PyTorch, from a process that has only what its image has."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from qa_lib import config
from qa_lib.errors import ConfigError, ModelError
from qa_lib.models.inference import Forward
from qa_lib.serving import Answerer, onnx
from qa_lib.serving.onnx import reader
from qa_lib.serving.onnx.graph import FLOAT, write_onnx
from qa_lib.serving.onnx.reader import Inputs
from qa_lib.serving.service import slim
from qa_lib.serving.service.running import open_port
from tests.support import tiny
from tests.support.service import ASKED, call

REPOSITORY = Path(__file__).parents[3]
TOKEN = "0123456789abcdef"
LONG = "Ann built the bridge in 1890. " * 40
WINDOWS = {"max_seq_len": 112, "doc_stride": 32}


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Forward:
    name = tiny.write_model(tmp_path_factory.mktemp("slim") / "tiny")
    return Forward(name, precision="fp32", attention="sdpa", measure=False, batch_size=8)


@pytest.fixture(scope="module")
def folder(forward: Forward) -> Path:
    """A checkpoint with its graph, as the job export writes it."""
    folder = Path(forward.model.name_or_path)
    (folder / FLOAT).parent.mkdir()
    write_onnx(forward.model, folder / FLOAT, ["input_ids", "attention_mask", "token_type_ids"])
    Inputs.of(forward.tokenizer, forward.pad.max_width).write(folder)
    return folder


def test_the_answers_are_pytorchs(forward: Forward, folder: Path):
    exported = onnx.OnnxReader(str(folder), num_threads=1)
    questions, contexts = ["Who built it?", "When?"], [LONG, "Bo: café, 1 Mai."]
    for options in ({}, {"top_k": 5, "threshold": 0.5, "handle_impossible_answer": True}):
        ours, theirs = (
            Answerer(model)(questions, contexts, **WINDOWS, **options)
            for model in (exported, forward)
        )
        for one, other in zip(ours, theirs, strict=True):
            listed = [[each] if isinstance(each, dict) else each for each in (one, other)]
            for a, b in zip(*listed, strict=True):
                assert {**a, "score": 0} == {**b, "score": 0}
                assert a["score"] == pytest.approx(b["score"], abs=1e-5)


def test_what_was_not_exported_is_refused_with_the_command(
    forward: Forward, folder: Path, tmp_path
):
    with pytest.raises(ModelError, match="onnx/model-int8.onnx"):
        onnx.OnnxReader.check(str(folder), int8=True)
    old = tmp_path / "old"
    (old / FLOAT).parent.mkdir(parents=True)
    (old / "config.json").write_text("{}")
    (old / FLOAT).write_bytes(b"")
    with pytest.raises(ModelError, match="inputs.json") as refused:
        onnx.OnnxReader.check(str(old))
    assert f"make export RUN={old}" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (FLOAT, ""),
        (FLOAT, "half"),
        ("tokenizer.json", None),
        ("tokenizer.json", "half"),
        ("onnx/inputs.json", "half"),
        ("onnx/inputs.json", '"max_length": "x"'),
        ("answering.json", f'{{"no_answer_threshold": 1{"0" * 400}}}'),
    ],
)
def test_a_damaged_file_is_two_lines(folder: Path, tmp_path, name, content):
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = copy / name
    if content is None:
        file.unlink()
    elif content == "half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif name == "onnx/inputs.json":
        file.write_text(re.sub(r'"max_length": \d+', content, file.read_text()))
    else:
        file.write_text(content)
    with pytest.raises(ModelError) as refused:  # with which `main` ends in exit code 2
        slim.make_service(slim.parse([str(copy)]))
    assert str(refused.value).count("\n") == 1 and str(copy) in refused.value.problem


def test_the_backend_is_the_recipes_onnx_without_one_and_never_torch(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("serve: {backend: int8}\n")
    assert slim.parse(["runs/x", "--recipe", str(recipe)]).serve.backend == "int8"
    assert slim.parse(["runs/x"]).serve.backend == "onnx"
    for words in (["--serve.backend", "torch"], ["--recipe", str(recipe)]):
        recipe.write_text("serve: {backend: torch}\n")
        with pytest.raises(ConfigError, match="has no torch") as refused:
            slim.parse(["runs/x", *words])
        assert "--serve.backend onnx" in refused.value.remedy


def test_a_dry_run_says_what_would_be_served_and_serves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(slim, "open_port", lambda _: pytest.fail("it opened a port"))
    assert slim.main([str(folder), "--dry-run"]) == 0
    assert capsys.readouterr().out == f"would serve {folder} as {folder.name}, backend onnx\n"
    assert slim.main([f"{folder}-absent", "--dry-run"]) == 2


def test_the_cpus_of_a_replica_are_a_models_threads(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []
    open_session = reader.open_session

    def spy(path: Path, num_threads: int | None) -> Any:
        asked.append(num_threads)
        return open_session(path, num_threads)

    monkeypatch.setattr(reader, "open_session", spy)
    for flags in ([], ["--serve.cpus-per-replica", "1.5"]):
        slim.make_service(slim.parse([str(folder), *flags]))
    assert asked == [None, 1]


def in_the_image() -> set[str]:
    """Return the top-level modules of what the slim image installs."""
    text = (REPOSITORY / "cluster/slim.Dockerfile").read_text()
    found = re.search(r"--constraint \S+ \\\n(.*)\n", text)
    assert found
    todo, names = [Requirement(name) for name in found[1].split()], set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in names:
            continue
        names.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                todo.append(needed)
    modules = importlib.metadata.packages_distributions()
    return {
        module for module, owners in modules.items() if names & set(map(canonicalize_name, owners))
    }


WITHOUT_THE_REST = """
import importlib.metadata, runpy, sys
allowed = {*sys.argv.pop(1).split(","), *sys.stdlib_module_names, "qa_lib"}
absent = set(importlib.metadata.packages_distributions()) - allowed
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
runpy.run_module("qa_lib.serving.service.slim", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    allowed = in_the_image()
    assert not allowed & {"torch", "ray", "transformers", "deepspeed", "pandas"}
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    flags = f"--serve.port 0 --serve.token-file {folder}/token --data.max-length 112"
    flags += " --data.stride 32"
    command = [sys.executable, "-c", WITHOUT_THE_REST, ",".join(allowed), str(folder)]
    with subprocess.Popen(
        [*command, *flags.split()], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_process_with_only_the_images_packages_serves_and_drains(
    process: subprocess.Popen[str], forward: Forward
):
    assert process.stdout is not None
    port = int(re.search(r":(\d+)/answer", process.stdout.readline())[1])  # type: ignore[index]
    assert call(port, body=ASKED)[0] == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    asked = {"question": "Who built it?", "context": LONG}
    status, found = call(port, body=asked, **right)
    expected = Answerer(forward)(**asked, **WINDOWS)
    assert status == 200 and found["answer"] == expected["answer"]
    assert found["score"] == pytest.approx(expected["score"], abs=1e-5)
    assert (
        'qa_batch_questions_count{model="tiny"} 1.0'
        in call(port, "/metrics", method="GET", **right)[1]
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_answers_are_sent_without_nagles_delay():
    """Asyncio turns it off for sockets whose protocol is named: without, 40 ms an answer."""
    with open_port(config.parse("serve", ["--serve.port", "0"])) as listener:
        with socket.create_connection(listener.getsockname()):
            served, _ = listener.accept()
        with served:
            assert served.proto == socket.IPPROTO_TCP
