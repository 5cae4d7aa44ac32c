"""Credentials in URLs: refused before anything is written, and never repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from qa_lib import config
from qa_lib.config import Settings
from qa_lib.config.credentials import kind_of_secret, redact
from qa_lib.errors import ConfigError
from qa_lib.runs import provenance, storage

ROOT = Path(__file__).parents[3]
SECRET = "hunter2x"
LEAKS = [
    f"https://ann:{SECRET}@host/squad.parquet",
    f"https://{SECRET}@host/squad.parquet",
    f"s3://AKIA:{SECRET}/a+b@bucket/runs",
    f"https://host/squad?X-Amz-Algorithm=a&X-Amz-Signature={SECRET}",
    f"https://host/squad?sv=2024&sig={SECRET}",
    f"https://host/squad?token={SECRET}",
    f"https://host/squad?KEY={SECRET}",
    f"https://host/squad?%74oken={SECRET}",
    f"s3://bucket/squad?endpoint_override=http%3A%2F%2Fann%3A{SECRET}%40host",
]
FLAGS = """--storage --predictions --model.name --data.source --data.eval-source --train.teacher
    --evaluate.semantic-model --search.parent --adjust.plan --answer.input --answer.output
    --demo.beside --recipe --compare.runs""".split()


@pytest.mark.parametrize("url", LEAKS)
def test_every_form_of_a_secret_is_recognised_and_covered(url: str):
    assert kind_of_secret(url)
    assert SECRET not in redact(f"{url} cannot be opened")
    with pytest.raises(ConfigError) as caught:
        storage.resolve(url)
    assert SECRET not in f"{caught.value.problem} {caught.value.remedy}"


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket/runs",
        "gs://anonymous@bucket/x",
        "hf://datasets/ann/squad@main/train.parquet",
        "abfs://container@account.dfs.core.windows.net/x",
        "hdfs://user@host:9000/x",
        "http://localhost:8000/x@v1.json",
        "http://[::1]:8000/x@v1.json",
        "s3://bucket/x?region=eu-central-1",
        "https://huggingface.co/x?download=true",
        "~/squad?key=1",
    ],
)
def test_urls_without_a_secret_are_left_alone(url: str):
    assert kind_of_secret(url) is None
    assert redact(url) == url


@pytest.mark.parametrize("flag", FLAGS)
def test_every_setting_that_takes_a_url_refuses_a_secret(flag: str):
    with pytest.raises(ConfigError) as caught:
        config.parse("train", [flag, LEAKS[0], "--seed", "wrong too"])
    assert flag in caught.value.problem
    assert SECRET not in caught.value.problem
    for way in ("environment variables", "workload identity", "~/.config"):
        assert way in caught.value.remedy


def test_a_secret_in_a_recipe_in_a_stray_word_and_in_code(tmp_path: Path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"data: {{source: '{LEAKS[3]}'}}\nnonsense: 3\n")
    with pytest.raises(ConfigError, match=r"data.source \(mine.yaml\)") as caught:
        config.parse("train", ["--recipe", str(recipe)])
    assert SECRET not in caught.value.problem
    with pytest.raises(ConfigError, match="command line") as caught:
        config.parse("train", [LEAKS[0]])
    assert SECRET not in caught.value.problem
    with pytest.raises(ValidationError) as error:
        Settings.model_validate({"data": {"source": LEAKS[0]}})
    assert SECRET not in str(error.value)


def test_a_question_about_a_url_is_no_setting_and_is_covered_in_the_command(monkeypatch):
    argv = ["--answer.question", f"What is {LEAKS[5]}?", "--answer.context", LEAKS[5]]
    assert config.parse("answer", argv).answer.context == LEAKS[5]
    monkeypatch.setattr(sys, "argv", ["answer", *argv])
    assert SECRET not in provenance.command()


def test_a_config_of_an_earlier_version_is_read_with_its_secret_covered():
    settings = Settings.from_yaml(f"data: {{source: '{LEAKS[0]}'}}")
    assert settings.data.source == "https://***@host/squad.parquet"
    assert Settings.from_yaml(settings.to_yaml()) == settings


@pytest.mark.parametrize("module", [("jobs.train",), ("cluster.submit", "train")])
def test_a_job_with_a_secret_ends_with_2_and_writes_nothing(tmp_path: Path, module):
    flags = ["--storage", str(tmp_path / "runs"), "--data.source", LEAKS[4]]
    done = subprocess.run(
        [sys.executable, "-m", *module, *flags], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--data.source" in done.stderr and "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
