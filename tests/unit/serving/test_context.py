"""A context from the command line: a text, a file, or a text that begins with @."""

from __future__ import annotations

import pytest

from qa_lib.errors import DataError
from qa_lib.serving import prompt


def test_at_names_a_file_and_two_are_one_at(tmp_path):
    (tmp_path / "a.txt").write_text("Ann did.")
    assert prompt.read_context(f"@{tmp_path}/a.txt") == "Ann did."
    assert prompt.read_context("@@ann did it.") == "@ann did it."
    assert prompt.read_context("Ann @home.") == "Ann @home."


def test_a_file_that_is_not_there_names_the_way_out():
    with pytest.raises(DataError) as caught:
        prompt.read_context("@ann did it.")
    assert "@@" in caught.value.remedy
