"""Every dimension that must shrink with another is found, and an independent trace agrees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import SqueezeBertConfig

from qa_lib import adjust, models
from qa_lib.adjust import Sizes, families
from qa_lib.adjust.architecture import changed
from qa_lib.adjust.coupling import groups_of
from qa_lib.errors import AdjustError
from tests.support import dependency_trace
from tests.support.adjust_models import CONFIGS, plan_of, tiny, windows

WIDTHS = (32, 24, 3 * 32, 2 * 24)  # hidden and intermediate, fused queries and gated maps


@pytest.mark.parametrize("family", CONFIGS)
def test_groups_and_trace_agree(family: str):
    model = tiny(family)
    groups = groups_of(model.config)
    assert set(groups.shapes) == set(model.state_dict())
    assert not dependency_trace.differences(model, groups)
    # Rows and biases of queries and keys; of values, and columns of the map that reads them.
    num_axes = {"modernbert": [1, 2, 2], "deberta-v2-own": [8, 3, 3]}.get(family, [4, 3, 3])
    for layer in groups.layers:
        assert [group.width for group in layer] == [32, 32, 24]
        assert [len(group.axes) for group in layer] == num_axes


@pytest.mark.parametrize("family", CONFIGS)
def test_every_dimension_of_hidden_width_belongs_to_a_group(family: str):
    groups = groups_of(CONFIGS[family]())
    for tensor, shape in groups.shapes.items():
        if tensor == "mpnet.encoder.relative_attention_bias.weight":
            continue  # it has 32 buckets
        found = {axis.dim for group, axis in groups.axes[tensor] if group.name != "vocabulary"}
        assert found == {dim for dim, size in enumerate(shape) if size in WIDTHS}, tensor


def test_electra_embeddings_follow_the_hidden_size_only_where_they_must():
    word_embeddings = "electra.embeddings.word_embeddings.weight"
    groups = {
        family: [group.name for group, _ in groups_of(CONFIGS[family]()).axes[word_embeddings]]
        for family in ("electra", "electra-tied")
    }
    assert groups == {"electra": ["vocabulary"], "electra-tied": ["hidden", "vocabulary"]}


def test_a_module_name_keeps_its_meaning_when_layers_are_renumbered():
    groups = groups_of(CONFIGS["bert"]())
    name = "bert.encoder.layer.2.output.dense"
    assert groups.rename(name, {2: 0}) == "bert.encoder.layer.0.output.dense"
    assert groups.rename(name, {1: 0}) is None
    assert groups.rename("qa_outputs", {}) == "qa_outputs"


def test_groups_and_trace_agree_about_the_embedded_model():
    model = models.load("embedded")
    groups = groups_of(model.config)
    assert not dependency_trace.differences(model, groups)
    assert groups.hidden.width == 384
    assert [group.width for group in groups.layers[5]] == [384, 384, 1536]


def test_another_family_is_refused_by_name():
    config = SqueezeBertConfig(
        vocab_size=64, embedding_size=32, hidden_size=32, num_attention_heads=4, num_hidden_layers=1
    )
    with pytest.raises(AdjustError, match="family squeezebert") as refusal:
        groups_of(config)
    assert "electra" in refusal.value.remedy


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("bert", "add_cross_attention", True),
        ("electra", "add_cross_attention", True),
        ("albert", "num_hidden_groups", 3),
        ("albert", "inner_group_num", 2),
        ("deberta-v2", "conv_kernel_size", 3),
        ("deberta-v2", "attention_head_size", 4),
    ],
)
def test_a_part_that_the_surgery_does_not_know_is_refused_by_name(
    family: str, key: str, value: int | bool
):
    config = changed(CONFIGS[family](), **{key: value})
    with pytest.raises(AdjustError, match=f"{family} model with {key} {value}"):
        groups_of(config)


def test_fused_and_gated_maps_are_told_apart_by_blocks():
    groups = groups_of(CONFIGS["modernbert"]())
    layer = groups.layers[1]
    assert layer.query_key.axes[0].blocks == (0, 1)
    assert layer.value.axes[0].blocks == (2,)
    assert layer.intermediate.axes[0].blocks == (0, 1)
    assert [axis.tensor for axis in groups.others[0].axes] == [
        "head.dense.weight",
        "head.norm.weight",
        "classifier.weight",
    ]


def test_one_table_for_the_heads_of_all_layers_ties_them():
    assert groups_of(CONFIGS["mpnet"]()).ties_heads
    assert not any(
        groups_of(CONFIGS[family]()).ties_heads for family in CONFIGS if family != "mpnet"
    )


def test_a_wrong_declaration_is_caught_by_trace_and_proof(monkeypatch: pytest.MonkeyPatch):
    # The keys are not declared, so that their rows count as units of the residual stream.
    wrong = replace(families.FAMILIES["bert"], keys=("attention.self.query",))
    monkeypatch.setitem(families.FAMILIES, "bert", wrong)
    model = tiny("bert")
    groups = groups_of(model.config)
    apart = set().union(*dependency_trace.differences(model, groups).values())
    assert any(module.endswith("attention.self.key") for module, _, _ in apart)
    plan = plan_of(model, Sizes((0, 1, 2), 32, 4, 12), [windows()])
    with pytest.raises(AdjustError, match=r"permuting the units of .*hidden"):
        adjust.prove(model, adjust.apply(model, plan), plan)
