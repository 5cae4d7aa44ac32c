"""Scores and families in files of a user's own: the guide's examples, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, CamembertConfig

from qa_lib import adjust, config
from qa_lib.adjust import Sizes, extensions, families
from qa_lib.errors import AdjustError, ConfigError
from tests.support.adjust_models import _WIDTHS, plan_of, tiny, windows

EXAMPLES = Path(__file__).parents[3] / "docs/guide/examples"
HALF = Sizes((0, 1, 2), 32, 4, 12)


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(families, "FAMILIES", families.FAMILIES)
    before = dict(families.FAMILIES)
    yield
    families.FAMILIES.clear()
    families.FAMILIES.update(before)


def test_the_guides_function_chooses_the_units(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    parent = tiny("bert")
    with torch.no_grad():  # dead units, which any sensible score drops
        for layer in parent.bert.encoder.layer:
            layer.output.dense.weight[:, 12:] = 0
            layer.intermediate.dense.weight[12:] = 0
            layer.intermediate.dense.bias[12:] = -100.0
    plan = plan_of(parent, HALF, [windows()], importance="my_importance:score")
    assert plan.importance == "my_importance:score"
    assert all(kept == tuple(range(12)) for kept in plan.keep.intermediate)
    assert adjust.prove(parent, adjust.apply(parent, plan), plan)


def test_the_guides_family_is_cut_and_proved():
    parent = AutoModelForQuestionAnswering.from_config(
        CamembertConfig(**{**_WIDTHS, "pad_token_id": 1})
    ).eval()
    with pytest.raises(AdjustError, match="family camembert cannot be adjusted"):
        plan_of(parent, HALF, [windows()])
    adjust.declare_families(str(EXAMPLES / "my_families.py"))
    plan = plan_of(parent, HALF, [windows()])
    assert adjust.prove(parent, adjust.apply(parent, plan), plan)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "cannot be imported .ZeroDivisionError"),
        ("other = 1", "has no function score"),
        ("def score(units): return [1.0]", r"returned list for"),
        ("import torch\ndef score(units): return torch.ones(3)", r"returned \(3,\) for hidden"),
        ("import torch\ndef score(units): return torch.full((units.num_units,), float('nan'))",
         "not finite"),
        ("import torch\ndef score(units): return torch.ones(0, units.num_units)",
         r"returned \(0, "),
        ("import torch\ndef score(units): return torch.ones(1, 1, units.num_units)",
         r"returned \(1, 1, "),
        ("raise SystemExit(0)", "cannot be imported .SystemExit"),
        ("def score(units): return units.absent", "failed on hidden: AttributeError"),
    ],
)  # fmt: skip
def test_a_function_that_does_not_fit_is_named(tmp_path, monkeypatch, code, message):
    name = f"scores_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AdjustError, match=message):
        plan_of(tiny("bert"), HALF, [windows()], importance=f"{name}:score")


def test_a_module_that_is_nowhere_is_named():
    with pytest.raises(AdjustError, match="nowhere cannot be imported"):
        extensions.find_scorer("nowhere:score")
    with pytest.raises(ConfigError, match="must be .*taylor.* or MODULE:FUNCTION"):
        config.parse("adjust", ["--adjust.importance", "tailor"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"queries": ("attention.self.qury",)},
            "with attention.self.qury, .* have attention.self.q",
        ),
        ({"keys": ("attention.self.k", "attention.self.key")}, "with attention.self.k, which"),
        ({"output": "output.dense"}, "with output.dense, .* or not in that place"),
        ({"intermediate_key": "ffn_dim"}, "with ffn_dim, which its configuration does not have"),
        ({"layers_key": "n_layers"}, "with n_layers, which its configuration"),
        ({"head": ("classifier",)}, "with classifier, which its models do not have"),
    ],
)
def test_a_family_that_its_models_do_not_fit_is_named(wrong, message):
    bert = families.FAMILIES["bert"]
    families.FAMILIES["camembert"] = replace(bert, only={}, **wrong)
    parent = AutoModelForQuestionAnswering.from_config(
        CamembertConfig(**{**_WIDTHS, "pad_token_id": 1})
    )
    with pytest.raises(AdjustError, match=message):
        plan_of(parent.eval(), HALF, [windows()])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "there is no such file"),
        (
            "from qa_lib.adjust import Family\nFAMILIES = {'mine': Family('q', ('k',), 'v', 'o')}",
            "TypeError: queries is a tuple of names, not 'q'",
        ),
        ("1 / 0", "failed: ZeroDivisionError"),
        ("FAMILIES = {", "failed: SyntaxError"),
        ("raise SystemExit(0)", "failed: SystemExit"),
        ("families = {}", "declares no FAMILIES"),
        ("FAMILIES = {'mine': 1}", "'mine' is no Family"),
        ("from qa_lib.adjust import FAMILIES", "which is built in"),
    ],
)
def test_a_file_of_families_that_does_not_fit_is_named(tmp_path, code, message):
    path = tmp_path / "mine.py"
    if code is not None:
        path.write_text(code)
    with pytest.raises(AdjustError, match=message):
        adjust.declare_families(str(path))
