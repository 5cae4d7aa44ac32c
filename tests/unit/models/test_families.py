"""Every family that transformers can answer with works here, or is refused by name."""

from __future__ import annotations

import json
import re

import pytest
import torch

from qa_lib import models
from qa_lib.errors import ModelError
from qa_lib.models.families import UNSUPPORTED
from scripts import families


def rows() -> dict[str, str]:
    """Return the lines of the page by family."""
    text = families.PAGE.read_text(encoding="utf-8")
    return {
        match[1]: match[0] for match in re.finditer(r"^\| ([\w-]+) \| (?:yes|no) .*$", text, re.M)
    }


def test_the_page_has_every_family_of_the_installed_transformers():
    page = rows()
    assert sorted(page) == families.families()
    refused = {name: line for name, line in page.items() if "| no |" in line}
    assert refused.keys() == UNSUPPORTED.keys(), "run `python -m scripts.families`"
    assert all(UNSUPPORTED[name] in line for name, line in refused.items())


@pytest.mark.parametrize("family", ["data2vec-text", "longformer", "modernbert"])
def test_a_family_works_as_the_page_says(family: str):
    outcome = families.try_family(family)
    assert f"{rows()[family]}\n" in families.page([outcome], [])


@pytest.mark.slow
def test_the_page_is_current():
    outcomes = map(families.try_family, families.families())
    page = families.page(outcomes, families.tried_long())
    assert page == families.PAGE.read_text(encoding="utf-8"), "run `python -m scripts.families`"


@pytest.mark.parametrize("family", UNSUPPORTED)
def test_a_family_that_cannot_work_is_refused_by_name(tmp_path, family: str):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    with pytest.raises(ModelError, match=rf"{family} model.*{re.escape(UNSUPPORTED[family])}"):
        models.load(str(tmp_path))


@pytest.mark.parametrize(
    "family", ["data2vec-text", "xlm-roberta-xl", "xmod", "roberta-prelayernorm", "ibert", "bart"]
)
def test_positions_end_where_the_model_itself_ends(family: str):
    config = families.configured(family, 50)
    longest = models.maximum_length(config)
    model = models.build(config).eval()
    with torch.no_grad():
        assert model(torch.full((1, longest), 7)).start_logits.shape == (1, longest)
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 7))
