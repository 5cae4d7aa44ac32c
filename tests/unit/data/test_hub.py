"""Hub datasets, against a hub on this machine that speaks as much of the protocol as is asked."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lib.data import SCHEMA, fingerprint

REPOSITORY = Path(__file__).resolve().parents[3]
REVISION = "7" * 40
# The card of rajpurkar/squad names its files so.
CARD = """---
configs:
- config_name: plain_text
  data_files:
  - {split: train, path: plain_text/train-*}
  - {split: validation, path: plain_text/validation-*}
---
"""
PROGRAM = """
import json, sys
from qa_lib.data import load_questions
from qa_lib.config import DataSettings
from qa_lib.errors import DataError
try:
    questions = load_questions(DataSettings(source=sys.argv[1]), sys.argv[2])
    print(json.dumps([questions.table["id"].to_pylist(), questions.fingerprint]))
except DataError as error:
    print(json.dumps(str(error)))
"""


def table(prefix: str, num_rows: int) -> pa.Table:
    rows = [
        {
            "id": f"{prefix}{number}",
            "title": prefix,
            "context": "Ada met Bo in Ghent.",
            "question": "Where?",
            "answers": {"text": ["Ghent"], "answer_start": [14]},
        }
        for number in range(num_rows)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def parquet(questions: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(questions, sink)
    return sink.getvalue().to_pybytes()


class StandIn(BaseHTTPRequestHandler):
    """The hub's paths for one dataset: its information, its tree, and its files."""

    protocol_version = "HTTP/1.1"
    repo_id = "someone/questions"
    files = {
        "README.md": CARD.encode(),
        "plain_text/train-00000-of-00001.parquet": parquet(table("train", 5)),
        "plain_text/validation-00000-of-00001.parquet": parquet(table("dev", 3)),
    }

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        about, _, rest = path.removeprefix("/api/datasets/").partition(self.repo_id)
        if path.startswith("/api/datasets/") and not about:
            kind, _, where = rest.strip("/").partition("/")
            folder = where.partition("/")[2]
            if kind in ("", "revision"):
                siblings = [{"rfilename": name} for name in self.files]
                return self.answer({"id": self.repo_id, "sha": REVISION, "siblings": siblings})
            if kind == "tree":
                return self.answer(self.entries(folder))
            if kind == "paths-info":
                asked = parse_qs(body.decode())["paths"]
                return self.answer([self.entry(name) for name in asked if name in self.files])
        for revision in ("main", REVISION):
            name = path.removeprefix(f"/datasets/{self.repo_id}/resolve/{revision}/")
            if name in self.files:
                return self.answer(self.files[name], ETag=f'"{self.entry(name)["oid"]}"')
        missing = "EntryNotFound" if self.repo_id in path else "RepoNotFound"
        self.answer(b"", 404, **{"X-Error-Code": missing})

    do_HEAD = do_POST = do_GET

    def entries(self, folder: str) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        inside = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
        return [
            *({"type": "directory", "path": prefix + name, "oid": name} for name in folders),
            *(self.entry(prefix + name) for name in inside if "/" not in name),
        ]

    def entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "path": name, "size": len(content), "oid": oid}

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", REVISION)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hub_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def load(repo_id: str, split: str, home: Path, **environment: str) -> Any:
    """Load in a process of its own: the hub's address is read when its library is imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, repo_id, split],
        cwd=REPOSITORY,
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hub_dataset_is_loaded_and_later_found_in_the_cache(hub_url, tmp_path):
    train = load("someone/questions", "train", tmp_path, HF_ENDPOINT=hub_url)
    assert train == [[f"train{n}" for n in range(5)], fingerprint(table("train", 5))]
    offline = load("someone/questions", "eval", tmp_path, HF_HUB_OFFLINE="1")
    assert offline == [["dev0", "dev1", "dev2"], fingerprint(table("dev", 3))]


def test_a_dataset_that_the_hub_lacks_is_named_with_the_alternatives(hub_url, tmp_path):
    message = load("someone/nothing", "train", tmp_path, HF_ENDPOINT=hub_url)
    assert "someone/nothing" in message and "no such dataset on the hub" in message
    assert "embedded" in message


def test_a_hub_that_does_not_answer_is_reported_within_ten_seconds(tmp_path):
    with socket.socket() as listener:  # it accepts and says nothing
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        start = time.monotonic()
        message = load("rajpurkar/squad", "train", tmp_path, HF_ENDPOINT=silent)
        assert time.monotonic() - start < 10
    assert "the hub does not answer" in message
    assert "embedded" in message and "file or folder" in message
