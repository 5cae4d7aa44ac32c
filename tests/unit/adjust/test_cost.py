"""Costs are those of the real model, and sizes found for a target reach it."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from transformers import BertConfig

from qa_lib import adjust
from qa_lib.adjust import Sizes, cost, pipeline
from qa_lib.config import AdjustSettings
from qa_lib.errors import AdjustError
from qa_lib.models.latency import NUM_TOKENS, measure_latency
from tests.support.adjust_models import CONFIGS, tiny, windows

WIDE = BertConfig(
    vocab_size=64,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=512,
    max_position_embeddings=NUM_TOKENS,
)


@pytest.mark.parametrize("family", CONFIGS)
def test_parameters_are_counted_as_the_model_counts_them(family: str):
    model = tiny(family)
    assert cost.num_parameters(model.config) == model.num_parameters()


def test_operations_are_those_of_the_matrix_products():
    hidden, intermediate, tokens = 32, 24, 8
    projections = 4 * hidden * hidden + 2 * hidden * intermediate
    attention = 2 * tokens * hidden
    expected = 3 * 2 * tokens * (projections + attention) + 2 * tokens * hidden * 2
    assert cost.num_flops(CONFIGS["bert"](), tokens) == expected


def test_a_narrower_model_is_measured_and_predicted_faster():
    wide = Sizes.of(WIDE)
    narrow = Sizes(wide.layers[:2], 64, 2, 128)
    configs = {"wide": WIDE, "narrow": narrow.apply(WIDE)}
    models = {name: _random(config) for name, config in configs.items()}
    seconds = measure_latency(models)
    assert seconds["narrow"] < seconds["wide"]
    wide_s, narrow_s = cost.predict_latencies(list(configs.values()))
    assert narrow_s < wide_s
    assert cost.predict_latencies([WIDE]) == [wide_s], "a shape is measured once"


def test_the_shapes_of_a_comparison_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch):
    measured: list[int] = []

    def measure(models: dict[str, object]) -> dict[str, float]:
        measured.append(len(models))
        return {name: float(name.split()[1]) for name in models}

    monkeypatch.setattr(cost, "measure_latency", measure)
    monkeypatch.setattr(cost, "_measured", {})
    wide = Sizes.of(WIDE)
    sizes = [
        replace(wide, layers=wide.layers[:n], intermediate_size=i) for n in (2, 4) for i in (8, 16)
    ]
    assert cost.predict_latencies([each.apply(WIDE) for each in sizes]) == [2, 2, 4, 4]
    assert measured == [4], "two shapes, each without layers and with two"


def test_sizes_are_found_for_a_number_of_parameters():
    model = tiny("bert")
    settings = AdjustSettings(target_parameters=0.6, round_to=1, refit=False, layers="first")
    sizes = adjust.find_sizes(model, settings, [windows()])
    ratio = cost.num_parameters(sizes.apply(model.config)) / cost.num_parameters(model.config)
    assert 0.5 < ratio <= 0.6
    assert sizes.hidden_size == 32, "the residual stream is cut only where nothing else will do"


def test_a_target_can_keep_the_parents_own_width_whatever_the_step():
    model = tiny("bert")
    settings = AdjustSettings(target_parameters=0.8, round_to=16, refit=False, layers="first")
    sizes = adjust.find_sizes(model, settings, [windows()])
    assert sizes.intermediate_size == model.config.intermediate_size == 24
    assert len(sizes.layers) == 2


def test_a_target_out_of_reach_names_the_nearest():
    model = tiny("bert")
    settings = AdjustSettings(target_parameters=0.001, round_to=1, layers="first")
    with pytest.raises(AdjustError, match="target-parameters 0.001") as refusal:
        adjust.find_sizes(model, settings, [windows()])
    nearest = float(refusal.value.remedy.split("--adjust.target-parameters ")[1].rstrip("."))
    again = settings.model_copy(update={"target_parameters": nearest})
    assert adjust.find_sizes(model, again, [windows()]).layers == (0,)


def test_the_table_names_every_dimension_and_every_group():
    text = adjust.table(WIDE, Sizes((0, 1, 3), 64, 2, 256))
    for part in (
        "3  (0-1,3)",
        "hidden size",
        "intermediate size",
        "parameters",
        "GFLOPs (384 tokens)",
        "predicted ms (batch 1, 384 tokens)",
        "query_key, each of layers 0-1,3",
        "bert.encoder.layer.*.attention.self.key",
        "qa_outputs",
        "bert.embeddings.position_embeddings",
        "layers 2",
    ):
        assert part in text


def test_models_of_fewer_positions_are_told_at_as_many_tokens():
    short = copy.deepcopy(WIDE)
    short.max_position_embeddings = 128
    text = adjust.table(short, Sizes((0, 1), 64, 2, 256))
    assert "GFLOPs (128 tokens)" in text and "(batch 1, 128 tokens)" in text
    result = {"num_parent_parameters": 2, "num_parameters": 1, "speedup": 2.0}
    result |= {"latencies": [{"tokens": 128}], "latency_device": "cpu", "latency_threads": 1}
    assert "2.00x as fast (1 window of 128 tokens, cpu, 1 threads)" in pipeline.summary(result)


def _random(config: BertConfig):
    from transformers import AutoModelForQuestionAnswering

    return AutoModelForQuestionAnswering.from_config(config).eval()
