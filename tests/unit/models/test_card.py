"""The model card: its own code answers, its metadata is the hub's, and what a push sends."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qa_lib.config import Settings
from qa_lib.errors import ConfigError, ModelError
from qa_lib.models import card, push
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder
from qa_lib.serving import Answerer
from tests.support import tiny

REVISION = "1" * 40
REPOSITORY = Path(__file__).resolve().parents[3]


def written(folder: Path, scores: dict[str, Any], **settings: Any) -> RunFolder:
    """Return a finished run with a model and its card."""
    run = RunFolder(str(folder), "train")
    tiny.write_model(folder / "model")
    run.write_result(Evaluated(**scores))
    card.write_card(run, Settings.model_validate(settings))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    scores = {"f1": 71.254, "em": 60.5, "num_questions": 10_570}
    intervals = {"f1": (70.1, 72.3), "em": (59.0, 62.0)}
    return written(
        tmp_path_factory.mktemp("runs") / "mine",
        scores | {"intervals": intervals},
        data={"source": "/data/of/mine"},
    )


def test_the_cards_own_code_answers_with_stock_transformers(run: RunFolder, monkeypatch, capsys):
    found = re.search(r"```python\n(.*?)```", run.read_text(card.CARD), re.DOTALL)
    assert found and "qa_lib" not in found[1]
    assert len([line for line in found[1].splitlines() if line]) == 10
    monkeypatch.chdir(run.path)
    exec(found[1], {})
    expected = Answerer(run.path)(
        "Who built it?",
        "Ann built the bridge in 1890.",
        max_answer_len=30,
        align_to_words=False,
    )
    assert capsys.readouterr().out.strip() == expected["answer"]


def test_scores_stand_with_their_intervals_and_as_the_hub_reads_them(run: RunFolder):
    text = run.read_text(card.CARD)
    assert "| F1 | 71.25 | 70.10 to 72.30 |" in text
    assert "on 10,570 questions" in text
    for name in ("started_at", "hardware", "command"):
        assert str(run.read_result()[name]) in text
    header = card.header_of(text)
    assert header["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert (header["license"], header["language"]) == ("apache-2.0", "en")
    assert header["datasets"] == ["rajpurkar/squad"]  # by its number of questions
    (result,) = header["model-index"][0]["results"]
    assert [(each["type"], each["value"]) for each in result["metrics"]] == [
        ("f1", 71.25),
        ("exact_match", 60.5),
    ]


def test_scores_are_those_of_the_questions_that_were_scored(tmp_path: Path):
    data = {"source": "rajpurkar/squad", "eval_source": "/data/faq.json"}
    scores = {"f1": 41.0, "em": 30.0, "num_questions": 200}
    text = written(tmp_path / "mine", scores, data=data).read_text(card.CARD)
    header = card.header_of(text)
    assert header["datasets"] == ["rajpurkar/squad"]
    (result,) = header["model-index"][0]["results"]
    assert result["dataset"] == {"type": "extractive-qa", "name": "/data/faq.json"}
    assert "on\n`rajpurkar/squad`, scored on\n`/data/faq.json`." in text
    data = {"source": "/data/faq.json", "eval_source": "/data/dev-v1.1.json"}
    text = written(tmp_path / "faq", scores | {"num_questions": 10_570}, data=data)
    header = card.header_of(text.read_text(card.CARD))
    assert "datasets" not in header
    assert header["model-index"][0]["results"][0]["dataset"]["type"] == "rajpurkar/squad"
    held = written(tmp_path / "held", scores | {"eval_split": "holdout"}, data=data)
    dataset = card.header_of(held.read_text(card.CARD))["model-index"][0]["results"][0]["dataset"]
    assert dataset["name"] == "/data/faq.json"


def test_a_child_inherits_what_its_parents_card_says(run: RunFolder, tmp_path: Path):
    child = written(
        tmp_path / "child", {"f1": 1.0}, model={"name": run.path}, data={"source": "other"}
    )
    header = card.header_of(child.read_text(card.CARD))
    assert header["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert header["license"] == "apache-2.0" and header["datasets"] == ["rajpurkar/squad"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\r\nlicense: mit\r\n---\r\n# Title\r\n", {"license": "mit"}),
        ("\ufeff---  \nlicense: mit\n---\t\ntext", {"license": "mit"}),
        ("---\nlicense: mit\n---", {"license": "mit"}),
        ("---\ndate: 2024-02-30\n---\n", {}),
        (f"---\ndeep: {'[' * 3000}{']' * 3000}\n---\n", {}),
        ("no header", {}),
    ],
)
def test_the_header_of_any_card_is_read_or_left(text: str, expected: dict[str, Any]):
    assert card.header_of(text) == expected


@pytest.mark.parametrize(
    ("base", "expected"),
    [(["a/b"], "a/b"), (["a/b", "c/d"], None), ("a/b", "a/b"), ([["a/b"]], None), (None, None)],
)
def test_the_base_of_a_parent_may_be_a_list_of_one(base: Any, expected: str | None):
    assert card._base("/no/hub/id", {"base_model": base}) == expected


def test_a_run_without_scores_says_so(tmp_path: Path):
    text = written(tmp_path / "plain", {}).read_text(card.CARD)
    assert "It was not evaluated." in text and "model-index" not in card.header_of(text)


class Hub(BaseHTTPRequestHandler):
    """The hub's paths for one push: weights go the way of large files, the rest in the commit."""

    protocol_version = "HTTP/1.1"
    made: list[Any]
    files: dict[str, bytes]
    stored: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.reply({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self.made.append(json.loads(body))
            self.reply({"url": self.url})
        elif self.path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [each["path"] for each in json.loads(body)["files"]]
            modes = ["lfs" if name.endswith(".safetensors") else "regular" for name in names]
            pairs = zip(names, modes, strict=True)
            self.reply(
                {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in pairs]}
            )
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for each in objects:
                where = f"http://{self.headers['Host']}/store/{each['oid']}"
                each["actions"] = {"upload": {"href": where, "header": {}}}
            self.reply({"objects": objects, "transfer": "basic"})
        elif "/commit/" in self.path:
            self.commit([json.loads(line) for line in body.splitlines()])
            self.reply({"commitUrl": f"{self.url}/commit/{REVISION}", "commitOid": REVISION})
        else:
            self.reply({}, 404)

    def commit(self, lines: list[Any]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.stored[value["oid"]]

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.stored[hashlib.sha256(content).hexdigest()] = content
        self.reply({})

    def do_GET(self) -> None:
        self.reply({"error": "Invalid credentials"}, 401)

    @property
    def url(self) -> str:
        return f"http://{self.headers['Host']}/someone/mine"

    def reply(self, values: Any, status: int = 200) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.made, Hub.files, Hub.stored = [], {}, {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def pushed(run: RunFolder, hub: str, token: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Push in a process of its own: the hub's library reads the environment when it is imported."""
    environment = {"HF_ENDPOINT": hub, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-m", "jobs.push", run.path, "--push.repo", "someone/mine", *flags],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_push_sends_checkpoint_tokenizer_and_card_in_one_commit(run: RunFolder, hub: str):
    done = pushed(run, hub, "hf_right", "--push.license", "mit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub}/someone/mine/commit/{REVISION}"
    assert Hub.made[0]["name"] == "mine" and Hub.made[0]["visibility"] == "private"
    model = Path(run.path) / "model"
    sent = dict(Hub.files)
    text = sent.pop("README.md").decode()
    assert sent == {name: (model / name).read_bytes() for name in sent}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= sent.keys()
    assert 'from_pretrained("someone/mine")' in text and '("model")' not in text
    assert card.header_of(text)["license"] == "mit"
    assert card.header_of(text)["model-index"][0]["name"] == "mine"


def test_a_token_that_may_not_write_and_a_hub_that_is_away_are_said(run: RunFolder, hub: str):
    refused = pushed(run, hub, "hf_wrong")
    assert refused.returncode == 2 and "HF_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr and not Hub.files
    away = pushed(run, "http://127.0.0.1:1", "hf_right")
    assert away.returncode == 2 and "does not take the model" in away.stderr


def test_what_cannot_be_pushed_is_refused_before_the_hub_is_asked(run: RunFolder, tmp_path: Path):
    with pytest.raises(ConfigError, match="No repository"):
        push.preview(Settings.model_validate({"model": {"name": run.path}}))
    target = {"repo": "someone/mine"}
    with pytest.raises(ModelError, match="no model card"):
        push.preview(Settings.model_validate({"model": {"name": str(tmp_path)}, "push": target}))
    for repo in ("user/my--model", "user/m.git", "user/m-", "user/näme", f"user/{'m' * 100}"):
        target = {"repo": repo}
        with pytest.raises(ConfigError, match="hub takes no such name") as refused:
            push.preview(Settings.model_validate({"model": {"name": run.path}, "push": target}))
        assert str(refused.value).count("\n") == 1


@pytest.mark.parametrize("listed", ["", " 3", " [none, mine]", " mine"])
def test_a_card_that_was_edited_by_hand_is_pushed_with_what_it_has(tmp_path: Path, listed: str):
    run = RunFolder(str(tmp_path), "push")
    run.write_text(card.CARD, f"---\nlicense: mit\nmodel-index:{listed}\n---\nMine.\n")
    sent = card.card_for(run, "user/mine")
    assert card.header_of(sent)["license"] == "mit" and sent.endswith("Mine.\n")


def test_a_card_that_is_no_text_is_refused(tmp_path: Path):
    run = RunFolder(str(tmp_path), "push")
    run.write_text(card.CARD, "")
    (tmp_path / card.CARD).write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ModelError, match="that can be read"):
        card.card_for(run, "user/mine")
