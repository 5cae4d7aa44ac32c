"""An adjusted model is its parent at the plan's indices; whatever is not so is caught."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lib import adjust, models
from qa_lib.adjust import Plan, Sizes, permutation, probe_batch, proof
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.groups import Axis, Group, Groups
from qa_lib.errors import AdjustError
from tests.support.adjust_models import CONFIGS, fitting, plan_of, tiny, windows

MODELS = {family: tiny(family) for family in CONFIGS}
SIZES = {
    "layers": Sizes((0, 2), 32, 4, 24),
    "intermediate": Sizes((0, 1, 2), 32, 4, 10),
    "hidden": Sizes((0, 1, 2), 24, 3, 24),
    "head size": Sizes((0, 1, 2), 24, 4, 24),
    "everything": Sizes((1, 2), 12, 2, 7),
}


def plan_for(family: str, sizes: Sizes, **options: Any) -> Plan:
    batches = [windows(seed=1), windows(seed=2)]
    return plan_of(MODELS[family], sizes, batches, **options)


@cache
def adjusted(family: str, folds: bool = True) -> tuple[Plan, Any]:
    plan = plan_for(family, fitting(family, SIZES["everything"]), fold=folds)
    return plan, adjust.apply(MODELS[family], plan)


@pytest.mark.parametrize("folds", [True, False], ids=["fold", "no fold"])
@pytest.mark.parametrize("what", SIZES)
@pytest.mark.parametrize("family", CONFIGS)
def test_an_adjusted_model_is_proved(family: str, what: str, folds: bool):
    sizes = fitting(family, SIZES[what])
    plan = plan_for(family, sizes, fold=folds)
    parent, before = MODELS[family], copy.deepcopy(MODELS[family].state_dict())
    child = adjust.apply(parent, plan)
    shown = adjust.prove(parent, child, plan)
    assert shown.num_tensors == len(child.state_dict())
    assert shown.max_logit_error < 1e-6
    assert Sizes.of(child.config) == replace(sizes, layers=tuple(range(len(sizes.layers))))
    if not folds and what != "head size" and what != "everything":
        assert not plan.changed
        assert shown.num_identical == shown.num_tensors
    for tensor in child.state_dict().values():
        tensor.zero_()  # none of the child's is the parent's
    for name, tensor in parent.state_dict().items():
        assert torch.equal(tensor, before[name]), "the parent was touched"


def test_the_embedded_model_is_proved():
    parent = models.load("embedded")
    batch = {
        key: value.repeat(1, 2)[:, :24] if value.dim() > 1 else value
        for key, value in windows(num_tokens=24).items()
    }
    sizes = Sizes((0, 1, 2, 4), 288, 9, 768)
    plan = plan_of(parent, sizes, [batch])
    shown = adjust.prove(parent, adjust.apply(parent, plan), plan)
    assert shown.max_logit_error < 1e-6


@settings(max_examples=40)
@given(data=st.data())
def test_any_sizes_are_proved(data: st.DataObject):
    family = data.draw(st.sampled_from(sorted(CONFIGS)))
    layers = data.draw(st.sets(st.integers(0, 2), min_size=1))
    num_heads = data.draw(st.integers(1, 4))
    head_size = data.draw(st.integers(1, 8))
    if family in ("electra", "deberta-v2-own") and num_heads * head_size == 16:
        head_size -= 1  # where they would leave out a projection
    wish = Sizes(
        layers=tuple(sorted(layers)),
        hidden_size=num_heads * head_size,
        num_heads=num_heads,
        intermediate_size=data.draw(st.integers(1, 24)),
    )
    sizes = fitting(family, wish)
    plan = plan_for(
        family,
        sizes,
        importance=data.draw(st.sampled_from(["taylor", "activation", "magnitude", "random"])),
        fold=data.draw(st.booleans()),
        seed=data.draw(st.integers(0, 3)),
    )
    assert Plan.from_json(plan.to_json()) == plan
    shown = adjust.prove(MODELS[family], adjust.apply(MODELS[family], plan), plan)
    assert shown.max_logit_error <= proof.LOGIT_TOLERANCE


KEYS = ("self.key", "attention.key", "k_lin", "attn.k", "pos_key_proj")  # ends of modules' names


def without(groups: Groups, axis: Axis) -> Groups:
    """Plant a mistake: a group that misses one dimension."""

    def cut(group: Group) -> Group:
        return replace(group, axes=tuple(other for other in group.axes if other != axis))

    layers = tuple(
        replace(
            layer,
            query_key=cut(layer.query_key),
            value=cut(layer.value),
            intermediate=cut(layer.intermediate),
        )
        for layer in groups.layers
    )
    others = tuple(map(cut, groups.others))
    return replace(groups, hidden=cut(groups.hidden), layers=layers, others=others)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_group_that_misses_a_dimension_is_caught(family: str):
    parent = copy.deepcopy(MODELS[family]).double()
    groups = groups_of(parent.config)
    batch = probe_batch.probe(parent.config)
    permutation.check_permutation(parent, groups, batch)
    last = len(groups.layers) - 1
    in_one_layer = [*groups.layers[last], groups.hidden, *groups.others]
    for group in in_one_layer:
        for axis in group.axes:
            if groups.layer_of(axis.module) not in (None, last):
                continue  # the layers are alike: one of them, and what stands around them
            if axis.module.endswith(KEYS) and axis.parameter == "bias":
                continue  # the softmax hides it; the next test
            with pytest.raises(AdjustError) as refusal:
                permutation.check_permutation(parent, without(groups, axis), batch)
            named = re.findall(
                r"hidden|heads?|vocabulary|\d\.\w+", refusal.value.problem.split(" changes ")[0]
            )
            assert group.name in named
            if not groups.ties_heads or group.name == "hidden":
                assert {name.split(".")[0] for name in named} == {group.name.split(".")[0]}


@pytest.mark.parametrize("family", [family for family in CONFIGS if family != "modernbert"])
def test_a_key_bias_left_whole_is_caught_by_its_shape(family: str):
    plan, child = adjusted(family)
    wrong = copy.deepcopy(child)
    layer = groups_of(MODELS[family].config).layers[0]
    key = wrong.get_submodule(layer.query_key.modules("writes")[1])
    key.bias = torch.nn.Parameter(torch.zeros(32))
    with pytest.raises(AdjustError, match="do not fit the configuration"):
        adjust.prove(MODELS[family], wrong, plan)


def test_a_group_that_mixes_up_its_units_is_caught():
    parent = copy.deepcopy(MODELS["bert"]).double()
    groups = groups_of(parent.config)
    first, second = groups.layers[0], groups.layers[1]
    crossed = replace(
        first.intermediate, axes=second.intermediate.axes[:2] + first.intermediate.axes[2:]
    )
    layers = (replace(first, intermediate=crossed), *groups.layers[1:])
    with pytest.raises(AdjustError, match=r"0\.intermediate"):
        permutation.check_permutation(
            parent, replace(groups, layers=layers), probe_batch.probe(parent.config)
        )


def test_a_weight_that_is_not_the_parents_is_caught():
    plan, child = adjusted("bert", folds=False)
    wrong = copy.deepcopy(child)
    with torch.no_grad():
        wrong.bert.encoder.layer[0].output.dense.weight[0, 0] += 1e-6
    with pytest.raises(AdjustError, match=r"layer\.0\.output\.dense\.weight is not the parent's"):
        adjust.prove(MODELS["bert"], wrong, plan)


def test_a_folded_bias_that_is_not_the_folded_value_is_caught():
    plan, child = adjusted("bert")
    wrong = copy.deepcopy(child)
    with torch.no_grad():
        wrong.bert.encoder.layer[0].output.dense.bias[0] += 1e-2
    with pytest.raises(AdjustError, match="logits differ"):
        adjust.prove(MODELS["bert"], wrong, plan)


def test_a_query_that_is_not_scaled_to_its_head_size_is_caught():
    plan, child = adjusted("bert", folds=False)
    wrong = copy.deepcopy(child)
    with torch.no_grad():
        wrong.bert.encoder.layer[0].attention.self.query.weight *= (8 / 6) ** 0.5
    with pytest.raises(AdjustError, match="logits differ"):
        adjust.prove(MODELS["bert"], wrong, plan)


def test_a_process_with_only_transformers_and_torch_gives_the_same_logits(tmp_path: Path):
    tokenizer = models.load_tokenizer("embedded")
    for family in CONFIGS:
        _, child = adjusted(family)
        batch = probe_batch.probe(child.config)
        models.save(child, tokenizer, tmp_path / family)
        torch.save((batch, probe_batch.logits(child, batch)), tmp_path / f"{family}.pt")
    program = """
import pathlib, sys, warnings
import torch
from transformers import AutoModelForQuestionAnswering
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.pt")):
    batch, expected = torch.load(file)
    folder = file.with_suffix("")
    model, info = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    with torch.no_grad():
        output = model(**batch)
    real = batch["attention_mask"].bool()
    found = torch.stack([output.start_logits[real], output.end_logits[real]])
    print(file.stem, torch.equal(found, expected), (found - expected).abs().max().item())
assert not any(name.split(".")[0] == "qa_lib" for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {line[0] for line in lines} == set(CONFIGS)
    assert all(float(line[2]) < 1e-5 for line in lines), done.stdout
