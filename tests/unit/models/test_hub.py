"""What the hub's refusals of models and datasets become, by a hub on this machine that refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qa_lib import models
from qa_lib.data import hub
from qa_lib.errors import DataError, ModelError


class Refusing(BaseHTTPRequestHandler):
    """Its status, and the hub's code of the error, are in the name: someone/401-RepoNotFound."""

    def do_GET(self) -> None:
        status, _, code = self.path.split("/")[4].partition("-")
        self.send_response(int(status))
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch, tmp_path) -> Iterator[None]:
    from huggingface_hub import constants

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("name", "problem", "remedy"),
    [
        ("403-GatedRepo", "does not let this user read", "Accept its terms"),
        ("403", "does not let this user read", "HF_TOKEN"),
        ("401", "does not let this user read", "hf auth login"),
        ("401-RepoNotFound", "no (model|such dataset)", "private: set HF_TOKEN"),
        ("429", "429", "embedded"),
    ],
)
def test_a_refusal_of_the_hub_is_told_from_its_silence(name, problem, remedy):
    for load, error in ((models.resolve, ModelError), (hub._check_reachable, DataError)):
        with pytest.raises(error, match=problem) as caught:
            load(f"someone/{name}")
        assert remedy in caught.value.remedy and "does not answer" not in str(caught.value)


def test_the_card_of_a_model_of_the_hub_is_fetched_too(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    def download(name: str, allow_patterns: list[str], **_: object) -> str:
        files = ["config.json", "README.md", "pytorch_model.bin"]
        for file in filter_repo_objects(files, allow_patterns=allow_patterns):
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder = models.resolve("someone/with-a-card")
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "README.md"}
    assert folder == str(tmp_path)
