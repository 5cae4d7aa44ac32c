"""Every dimension that must shrink with another is found, in two ways, or the model is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import AutoModelForQuestionAnswering, BertConfig, SqueezeBertConfig

from qa_lib import adjust, models
from qa_lib.adjust import families
from qa_lib.adjust.architecture import changed
from qa_lib.adjust.coupling import label
from qa_lib.errors import AdjustError
from tests.support.adjust_models import CONFIGS, tiny

WIDTHS = (32, 24, 3 * 32, 2 * 24)  # hidden and intermediate, fused queries and gated maps


@pytest.mark.parametrize("family", CONFIGS)
def test_labels_and_trace_agree(family: str):
    dimensions = adjust.trace(tiny(family))
    # Rows and biases of queries and keys; of values, and columns of the map that reads them.
    num_axes = {"modernbert": [1, 2, 2], "deberta-v2-own": [8, 3, 3]}.get(family, [4, 3, 3])
    for layer in dimensions.layers:
        assert [group.width for group in layer] == [32, 32, 24]
        assert [len(group.axes) for group in layer] == num_axes


@pytest.mark.parametrize("family", CONFIGS)
def test_every_dimension_of_hidden_width_belongs_to_a_group(family: str):
    dimensions = label(CONFIGS[family]())
    for tensor, shape in dimensions.shapes.items():
        if tensor == "mpnet.encoder.relative_attention_bias.weight":
            continue  # it has 32 buckets
        found = {axis.dim for group, axis in dimensions.axes[tensor] if group.name != "vocabulary"}
        assert found == {dim for dim, size in enumerate(shape) if size in WIDTHS}, tensor


def test_electra_embeddings_follow_the_hidden_size_only_where_they_must():
    word_embeddings = "electra.embeddings.word_embeddings.weight"
    groups = {
        family: [group.name for group, _ in label(CONFIGS[family]()).axes[word_embeddings]]
        for family in ("electra", "electra-tied")
    }
    assert groups == {"electra": ["vocabulary"], "electra-tied": ["hidden", "vocabulary"]}


def test_a_module_name_keeps_its_meaning_when_layers_are_renumbered():
    dimensions = label(CONFIGS["bert"]())
    name = "bert.encoder.layer.2.output.dense"
    assert dimensions.rename(name, {2: 0}) == "bert.encoder.layer.0.output.dense"
    assert dimensions.rename(name, {1: 0}) is None
    assert dimensions.rename("qa_outputs", {}) == "qa_outputs"


def test_the_embedded_model_is_traced():
    dimensions = adjust.trace(models.load("embedded"))
    assert dimensions.hidden.width == 384
    assert [group.width for group in dimensions.layers[5]] == [384, 384, 1536]


def test_another_family_is_refused_by_name():
    config = SqueezeBertConfig(
        vocab_size=64, embedding_size=32, hidden_size=32, num_attention_heads=4, num_hidden_layers=1
    )
    with pytest.raises(AdjustError, match="family squeezebert") as refusal:
        adjust.trace(AutoModelForQuestionAnswering.from_config(config))
    assert "electra" in refusal.value.remedy


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("albert", "num_hidden_groups", 3),
        ("albert", "inner_group_num", 2),
        ("deberta-v2", "conv_kernel_size", 3),
        ("deberta-v2", "attention_head_size", 4),
    ],
)
def test_a_part_that_the_surgery_does_not_know_is_refused_by_name(
    family: str, key: str, value: int
):
    config = changed(CONFIGS[family](), **{key: value})
    with pytest.raises(AdjustError, match=f"{family} model with {key} {value}"):
        label(config)


def test_fused_and_gated_maps_are_told_apart_by_blocks():
    dimensions = label(CONFIGS["modernbert"]())
    layer = dimensions.layers[1]
    assert layer.query_key.axes[0].blocks == (0, 1)
    assert layer.value.axes[0].blocks == (2,)
    assert layer.intermediate.axes[0].blocks == (0, 1)
    assert [axis.tensor for axis in dimensions.others[0].axes] == [
        "head.dense.weight",
        "head.norm.weight",
        "classifier.weight",
    ]


def test_one_table_for_the_heads_of_all_layers_ties_them():
    assert label(CONFIGS["mpnet"]()).ties_heads
    assert not any(label(CONFIGS[family]()).ties_heads for family in CONFIGS if family != "mpnet")


def test_a_declaration_that_the_trace_contradicts_is_refused(monkeypatch: pytest.MonkeyPatch):
    # The keys are not declared, so that labels take their rows for the residual stream.
    wrong = replace(families.FAMILIES["bert"], keys=("attention.self.query",))
    monkeypatch.setitem(families.FAMILIES, "bert", wrong)
    with pytest.raises(AdjustError, match=r"disagree.*attention\.self\.key"):
        adjust.trace(tiny("bert"))


def test_cross_attention_which_no_label_explains_is_refused():
    config = CONFIGS["bert"]().to_dict() | {"is_decoder": True, "add_cross_attention": True}
    with pytest.raises(AdjustError, match="crossattention"):
        adjust.trace(AutoModelForQuestionAnswering.from_config(BertConfig.from_dict(config)))
