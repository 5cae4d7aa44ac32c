"""Values of a recipe: YAML's own ideas of numbers and dates, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lib import config
from qa_lib.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("train: {epochs: yes}", "train.epochs is 'True' .* a whole number"),
        ("train: {learning_rate: on}", "train.learning_rate is 'True' .* a number"),
        ("data: {train_limit: no}", "data.train_limit is 'False' .* a whole number or none"),
        ("train: {learning_rate: 1:30.5}", "train.learning_rate is '1:30.5' .* a number"),
        ("search: {speeds: 2}", r"search.speeds is 2 .* must be a list, such as \[2\] or none"),
        ("adjust: {keep_layers: '0, 1'}", r"must be a list, such as \[0, 1\] or none"),
        ("adjust: {keep_layers: {a: 1}}", r"must be a list or none"),
        ("model: {name: ~}", r"model.name is none .* must be quoted text"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_a_users_words(
    line: str, wanted: str, tmp_path: Path
):
    path = tmp_path / "mine.yaml"
    path.write_text(line)
    with pytest.raises(ConfigError, match=wanted):
        config.parse("train", ["--recipe", str(path)])


def test_numbers_are_what_they_look_like_and_names_too(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("run_name: 2026-01-01\nseed: 017\ntrain: {learning_rate: 00.5}\n")
    settings = config.parse("train", ["--recipe", str(path)])
    assert (settings.run_name, settings.seed) == ("2026-01-01", 17)
    assert settings.train.learning_rate == 0.5
