"""Recipes that are built to hang, crash or fill the memory end as problems, within seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib import config
from qa_lib.config import recipes
from qa_lib.errors import ConfigError

_MERGES = "\n".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" if i else "a0: &a0 {x: 1}"
    for i in range(12)
)
_LISTS = "\n".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]" if i else "b0: &b0 [x]" for i in range(12)
)
CASES = {
    "self reference": ("train: &t {epochs: *t}", "contains itself"),
    "deep flow": ("a: " + "[" * 90_000, "deep"),
    "deep mappings": ("{a: " * 20_000, "deep"),
    "merges": (_MERGES, "values"),
    "lists": (_LISTS, "values"),
    "long": ("a: 1\n" * 100_000, "characters"),
    "many": ("a: [" + "1," * 45_000 + "]", "values"),
    "digits": ("train: {epochs: " + "9" * 10_000 + "}", "cannot be read"),
    "date": ("train: {epochs: 2001-99-99}", "a whole number"),
    "bytes": ("a: !!binary 'a'", "base64"),
    "code": ("a: !!python/object/apply:os.system [ls]", "constructor"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_recipe_is_refused_within_five_seconds(tmp_path: Path, case: str):
    text, problem = CASES[case]
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(ConfigError, match=problem):
        config.parse("train", ["--recipe", str(path)])
    assert time.process_time() - started < 5
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        config.Settings.from_yaml(text)


_yaml = st.recursive(
    st.sampled_from(["1", "x", "null", "*a", "&a y", "2001-01-01", ".nan", "!!set {a}", "0x_"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(
            st.sampled_from(["train", "epochs", "<<", "data", "? [a]", "1", "train.epochs"]),
            inner,
            max_size=3,
        ).map(lambda parts: "{" + ", ".join(f"{key}: {part}" for key, part in parts.items()) + "}")
    ),
    max_leaves=8,
)


@given(_yaml | st.text(max_size=40))
def test_any_recipe_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    recipe = recipes.read(str(path))
    assert isinstance(recipe.values, dict)
    try:
        config.parse("train", ["--recipe", str(path)])
    except ConfigError as error:
        assert error.remedy
