"""Files of earlier versions are read for ever; those of later ones are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lib import config
from qa_lib.config import Settings, versions
from qa_lib.errors import ConfigError
from qa_lib.runs.folder import Folder
from qa_lib.runs.result_file import RESULT, read_result

WRITTEN = Path(__file__).parent / "versions"  # by the commits of their names' versions; never edit


@pytest.mark.parametrize("path", sorted(WRITTEN.iterdir()), ids=lambda path: path.stem)
def test_a_config_of_an_earlier_version_is_read_as_a_run_and_as_a_recipe(path: Path):
    settings = Settings.from_yaml(path.read_text(encoding="utf-8"))
    assert (settings.adjust.num_layers, settings.train.learning_rate) == (4, 2e-4)
    assert settings.data.source == "rajpurkar/squad"
    again = config.parse("adjust", ["--recipe", str(path)])
    assert again == settings.model_copy(update={"recipe": str(path)})
    assert again.evaluate.no_answer_threshold is None, "a default of then was taken for a wish"


def test_a_recipe_without_a_version_asks_for_what_it_says(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("evaluate: {no_answer_threshold: 0}\n", encoding="utf-8")
    assert config.parse("train", ["--recipe", str(path)]).evaluate.no_answer_threshold == 0


def test_the_current_version_has_a_file_that_the_next_must_read():
    written = (WRITTEN / f"{versions.SCHEMA_VERSION}.yaml").read_text(encoding="utf-8")
    assert f"{versions.KEY}: {versions.SCHEMA_VERSION}\n" in written
    assert Settings().to_yaml().startswith(f"{versions.KEY}: {versions.SCHEMA_VERSION}\n")


@pytest.mark.parametrize("version", ["99", "zero", "0", "1.0", "true"])
def test_another_version_is_refused_by_name(version: str, tmp_path: Path):
    text = f"schema_version: {version}\nseed: 3\n"
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="schema_version is"):
        config.parse("train", ["--recipe", str(path)])
    with pytest.raises(ConfigError, match="schema_version is"):
        Settings.from_yaml(text)


def test_a_result_of_a_later_version_is_refused(tmp_path: Path):
    (tmp_path / RESULT).write_text('{"schema_version": 99, "job": "train"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="later version of this suite") as refused:
        read_result(Folder(str(tmp_path)))
    assert "version that wrote it" in refused.value.remedy
    (tmp_path / RESULT).write_text('{"job": "train"}', encoding="utf-8")
    assert read_result(Folder(str(tmp_path))) == {"job": "train"}
