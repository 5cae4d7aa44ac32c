"""A ragged model is its parent at the plan's indices, and nothing takes it for a stock one."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForQuestionAnswering, BertForQuestionAnswering

from qa_lib import adjust, models
from qa_lib.adjust import Plan, Sizes, cost, probe_batch, proof, ragged_sizes, vocabulary
from qa_lib.config import AdjustSettings, SpaceSettings
from qa_lib.errors import AdjustError, ModelError
from qa_lib.models import ragged
from qa_lib.models.ragged import Blocks
from qa_lib.search.space import space_of
from qa_lib.serving import onnx
from qa_lib.serving.onnx.exporting import LOGIT_TOLERANCE, check_logits
from tests.support.adjust_models import CONFIGS, plan_of, reread, tiny, windows
from tests.support.tiny_tokenizers import MAKE, texts, tiny_with, tokenizer

FAMILIES = sorted(set(CONFIGS) & {*ragged.RAGGED_FAMILIES, "electra-tied"})
MODELS = {family: tiny(family) for family in FAMILIES}
SPANS = {name: torch.tensor([1, 2]) for name in ("start_positions", "end_positions")}
WISHES: dict[str, dict[str, Any]] = {
    "intermediate": {"intermediate_size": 12},
    "heads alone": {"num_heads": 2},
    "dropped": {"drop_attention": (1,), "drop_feed_forward": (0, 2)},
    "everything": {
        "keep_layers": (0, 2),
        "hidden_size": 24,
        "num_heads": 2,
        "intermediate_size": 16,
        "drop_attention": (2,),
    },
}


def plan_for(family: str, wish: dict[str, Any], **options: Any) -> Plan:
    parent = MODELS[family]
    sizes = adjust.resolve(parent.config, AdjustSettings(ragged=True, **wish))
    batches = [windows(seed=1), windows(seed=2)]
    return plan_of(parent, sizes, batches, round_to=4, **options)


def blocks_of(plan: Plan) -> Blocks:
    found = plan.keep.sizes.blocks
    assert found is not None
    return found


@pytest.mark.parametrize("folds", [True, False], ids=["fold", "no fold"])
@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_ragged_model_is_proved_and_comes_back_from_disk(
    family: str, wish: str, folds: bool, tmp_path: Path
):
    plan = plan_for(family, WISHES[wish], fold=folds)
    assert Plan.from_json(plan.to_json()) == plan
    parent, before = MODELS[family], copy.deepcopy(MODELS[family].state_dict())
    child = adjust.apply(parent, plan)
    shown = adjust.prove(parent, child, plan)
    assert shown.num_tensors == len(child.state_dict())
    assert shown.max_logit_error < 1e-6
    if not folds:
        assert not plan.changed and shown.num_identical == shown.num_tensors
    for name, tensor in parent.state_dict().items():
        assert torch.equal(tensor, before[name]), "the parent was touched"

    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    loaded = models.load(str(tmp_path), dropout=0.0)
    assert type(loaded) is type(child) and ragged.blocks_of(loaded.config) == blocks_of(plan)
    batch = probe_batch.probe(child.config)
    assert torch.equal(probe_batch.logits(loaded, batch), probe_batch.logits(child, batch))
    states = (each.state_dict() for each in (models.load_empty(str(tmp_path)), child))
    empty, full = ({name: each.shape for name, each in state.items()} for state in states)
    assert empty == full
    assert models.has_answering_head(str(tmp_path))


def test_widths_follow_importance_and_budgets_hold():
    plan = plan_for("bert", {"num_heads": 2, "intermediate_size": 12})
    blocks = blocks_of(plan)
    assert sum(blocks.num_heads) == 6 and sum(blocks.intermediate_size) == 36
    assert min(blocks.num_heads) >= 1 and min(blocks.intermediate_size) >= 4
    scores = {name: torch.tensor(each) for name, each in plan.scores.items()}
    kept = [scores[f"{i}.heads"][list(plan.keep.heads[i])] for i in range(3)]
    gone = [
        scores[f"{i}.heads"][[head for head in range(4) if head not in plan.keep.heads[i]]]
        for i in range(3)
    ]
    # What is kept beyond each layer's first matters at least as much as what goes.
    spare = torch.cat([each.sort(descending=True).values[1:] for each in kept])
    assert spare.min() >= torch.cat(gone).max()


def test_shares_are_in_steps_and_leave_no_block_empty():
    scores = {
        "0.heads": torch.tensor([9.0, 8.0, 7.0]),
        "1.heads": torch.tensor([1.0, 0.5, 0.1]),
        "0.intermediate": torch.arange(10.0),
        "1.intermediate": torch.arange(10.0) + 100,
    }
    sizes = Sizes((0, 1), 6, 3, 6, blocks=Blocks((2, 2), (6, 6)))
    found = ragged_sizes.redistribute(scores, sizes, 4)
    assert found.blocks == Blocks((3, 1), (4, 8))
    assert found.intermediate_size == 8
    assert ragged_sizes.redistribute(scores, Sizes((0, 1), 6, 3, 6), 4).blocks is None
    dropped = Sizes((0, 1), 6, 3, 6, blocks=Blocks((0, 2), (6, 0)))
    assert ragged_sizes.redistribute(scores, dropped, 4).blocks == Blocks((0, 2), (4, 0))
    less = Sizes((0, 1), 6, 3, 3, blocks=Blocks((2, 2), (3, 3)))  # than a step
    assert ragged_sizes.redistribute(scores, less, 4).blocks == Blocks((3, 1), (3, 3))


@settings(max_examples=15)
@given(data=st.data())
def test_any_ragged_sizes_are_proved(data: st.DataObject):
    layers = tuple(sorted(data.draw(st.sets(st.integers(0, 2), min_size=2))))
    dropped = data.draw(st.sets(st.sampled_from(layers), max_size=len(layers) - 1))
    wish = {
        "keep_layers": layers,
        "hidden_size": 8 * data.draw(st.integers(1, 4)),
        "num_heads": data.draw(st.integers(1, 4)),
        "intermediate_size": data.draw(st.integers(1, 24)),
        data.draw(st.sampled_from(["drop_attention", "drop_feed_forward"])): tuple(sorted(dropped)),
    }
    family = data.draw(st.sampled_from(["bert", "distilbert", "roberta"]))
    method = data.draw(st.sampled_from(["taylor", "activation", "magnitude", "random"]))
    plan = plan_for(family, wish, importance=method, fold=data.draw(st.booleans()))
    shown = adjust.prove(MODELS[family], adjust.apply(MODELS[family], plan), plan)
    assert shown.max_logit_error <= proof.LOGIT_TOLERANCE


def test_a_wrong_constant_or_a_wrong_unit_is_caught():
    plan = plan_for("bert", WISHES["dropped"])
    child = adjust.apply(MODELS["bert"], plan)
    wrong = copy.deepcopy(child)
    with torch.no_grad():
        wrong.get_parameter("bert.encoder.layer.1.attention.output.dense.bias")[0] += 0.01
    with pytest.raises(AdjustError, match="logits differ"):
        adjust.prove(MODELS["bert"], wrong, plan)
    wrong = copy.deepcopy(child)
    with torch.no_grad():
        wrong.get_parameter("bert.encoder.layer.1.intermediate.dense.weight")[0, 0] += 1e-6
    with pytest.raises(AdjustError, match="is not the parent's"):
        adjust.prove(MODELS["bert"], wrong, plan)


def test_stock_transformers_refuses_it(tmp_path: Path):
    child = adjust.apply(MODELS["bert"], plan_for("bert", {"drop_attention": (1,)}))
    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    with pytest.raises(ValueError, match=ragged.MODEL_TYPE):
        AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    # A class that is named takes any type, and would draw weights for what was dropped.
    with pytest.raises(OSError, match=r"model\.safetensors"):
        BertForQuestionAnswering.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "wish", [{"num_layers": 2}, {"num_layers": 1, "intermediate_size": 16}], ids=str
)
def test_what_comes_out_even_is_a_stock_model(wish: dict[str, Any], tmp_path: Path):
    plan = plan_for("bert", wish)
    child = adjust.apply(MODELS["bert"], plan)
    adjust.prove(MODELS["bert"], child, plan)
    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    assert not models.is_ragged(str(tmp_path))
    stock = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    batch = probe_batch.probe(child.config)
    assert torch.equal(probe_batch.logits(stock, batch), probe_batch.logits(child, batch))


@pytest.mark.parametrize("family", sorted(set(MAKE) & ragged.RAGGED_FAMILIES.keys()))
def test_a_ragged_model_can_lose_tokens_too(family: str, tmp_path: Path):
    parent, own = tiny_with(family), tokenizer(family)
    few = texts().slice(0, 4)
    kept = vocabulary.used(own, few, parent.config)
    settings = AdjustSettings(
        ragged=True, drop_attention=(1,), intermediate_size=16, vocabulary="corpus"
    )
    sizes = replace(adjust.resolve(parent.config, settings), vocabulary_size=len(kept))
    batches = [probe_batch.probe(parent.config) | SPANS]
    plan = plan_of(parent, sizes, batches, vocabulary=kept, round_to=4)
    child = adjust.apply(parent, reread(plan))
    adjust.prove(parent, child, plan)
    assert child.config.vocab_size == len(kept) < parent.config.vocab_size
    models.save(child, vocabulary.shorten(own, kept), tmp_path)
    loaded, short = models.load(str(tmp_path)), models.load_tokenizer(str(tmp_path))
    assert vocabulary.check(own, short, kept, few)
    batch = probe_batch.probe(child.config)
    assert torch.equal(probe_batch.logits(loaded, batch), probe_batch.logits(child, batch))
    assert plan.keep.sizes.vocabulary_size == len(kept)
    assert cost.num_parameters(plan.keep.sizes.apply(parent.config)) == models.num_parameters(child)


def damage(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    written = json.loads(path.read_text())
    written["qa_suite_ragged"] |= values
    path.write_text(json.dumps(written))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_heads": [4, 4]}, "names 2 of 3 layers"),
        ({"num_heads": [4, -1, 4]}, "are no widths"),
        ({"num_heads": [4, 1, 4]}, "does not load.*Missing key"),
        ({"intermediate_size": [24, 24, 16]}, "does not load.*size mismatch"),
        ({"family": "mpnet"}, "family mpnet"),
    ],
)
def test_a_damaged_checkpoint_is_refused(values: dict[str, Any], says: str, tmp_path: Path):
    child = adjust.apply(MODELS["bert"], plan_for("bert", {"drop_attention": (1,)}))
    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    models.load(str(tmp_path))
    damage(tmp_path, **values)
    with pytest.raises(ModelError, match=says):
        models.load(str(tmp_path))


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path):
    child = adjust.apply(MODELS["bert"], plan_for("bert", {"drop_attention": (1,)}))
    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    (tmp_path / "ragged.safetensors").unlink()
    with pytest.raises(ModelError, match="no .*safetensors"):
        models.load(str(tmp_path))


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"num_heads": 5}, "--adjust.num-heads 4"),
        ({"hidden_size": 20}, "--adjust.hidden-size 16"),
        ({"drop_attention": (3,)}, "Layer 3 is not kept"),
        ({"drop_attention": (0, 1, 2)}, "No layer would have an attention"),
        ({"drop_attention": (1,), "drop_feed_forward": (1,)}, "--adjust.keep-layers 0 2"),
    ],
)
def test_what_no_ragged_model_can_be_is_refused(wish: dict[str, Any], says: str):
    with pytest.raises(AdjustError) as refusal:
        adjust.resolve(MODELS["bert"].config, AdjustSettings(ragged=True, **wish))
    assert says in str(refusal.value)


@pytest.mark.parametrize("family", sorted(set(adjust.FAMILIES) - ragged.RAGGED_FAMILIES.keys()))
def test_other_families_are_refused_by_name(family: str):
    parent = tiny(family)
    says = f"{family} cannot become ragged"
    with pytest.raises(AdjustError, match=says):
        adjust.resolve(parent.config, AdjustSettings(ragged=True, intermediate_size=8))
    with pytest.raises(AdjustError, match=says):
        adjust.find_sizes(parent, AdjustSettings(ragged=True, target_parameters=0.5), [windows()])
    with pytest.raises(AdjustError, match=says):
        space_of(parent.config, SpaceSettings(num_layers=(3,), ragged=(True,)))
    if not adjust.FAMILIES[family].rotary:
        with pytest.raises(AdjustError, match="heads alone") as refusal:
            adjust.resolve(parent.config, AdjustSettings(num_heads=2))
        assert "ragged" not in refusal.value.remedy, "it is sent where it cannot go"


def test_a_ragged_parent_is_refused():
    child = adjust.apply(MODELS["bert"], plan_for("bert", WISHES["intermediate"]))
    with pytest.raises(AdjustError, match="ragged already"):
        adjust.groups_of(child.config)
    with pytest.raises(AdjustError, match="ragged already"):
        adjust.resolve(child.config, AdjustSettings(num_layers=2))


def test_a_target_is_reached_with_as_many_units_shared_out():
    parent = MODELS["bert"]
    wish = AdjustSettings(ragged=True, target_parameters=0.6, round_to=4)
    sizes = adjust.find_sizes(parent, wish, [windows()])
    assert sizes.blocks is not None
    plan = plan_of(parent, sizes, [windows()], round_to=4)
    child = adjust.apply(parent, plan)
    assert models.num_parameters(child) <= 0.6 * models.num_parameters(parent)


def test_plans_and_searches_from_before_there_were_ragged_models_are_read():
    parent = MODELS["bert"]
    sizes = Sizes((0, 2), 32, 4, 10)
    plan = plan_of(parent, sizes, [windows()])
    values = json.loads(plan.to_json())
    del values["keep"]["ragged"], values["keep"]["vocabulary"]
    assert Plan.from_json(json.dumps(values)) == plan
    written = {"layers": [0, 2], "hidden_size": 32, "num_heads": 4, "intermediate_size": 10}
    assert Sizes.from_dict(written) == sizes


def test_a_plan_that_says_stock_is_held_to_even_widths():
    plan = plan_for("bert", WISHES["heads alone"])
    stock = plan.model_copy(update={"keep": plan.keep.model_copy(update={"ragged": False})})
    with pytest.raises(AdjustError, match="does not fit the model"):
        adjust.apply(MODELS["bert"], stock)


def test_sizes_and_costs_follow_the_layers():
    parent = MODELS["bert"].config
    plan = plan_for("bert", WISHES["everything"])
    sizes = plan.keep.sizes
    values = json.loads(json.dumps(vars(sizes) | {"blocks": vars(sizes.blocks)}))
    assert Sizes.from_dict(values) == sizes
    child = adjust.apply(MODELS["bert"], plan)
    config = sizes.apply(parent)
    assert cost.num_parameters(config) == models.num_parameters(child)
    assert 0 < cost.num_flops(config) < cost.num_flops(parent)
    assert cost.predict_latencies([config])[0] > 0
    table = adjust.table(parent, sizes)
    assert " ".join(map(str, blocks_of(plan).num_heads)) in table


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_ragged_model_exports_and_learns(family: str, tmp_path: Path):
    child = adjust.apply(MODELS[family], plan_for(family, WISHES["everything"]))
    inputs = ["input_ids", "attention_mask"]
    onnx.write_onnx(child, tmp_path / "model.onnx", inputs)
    exported = onnx.OnnxModel(tmp_path / "model.onnx", child.config)
    assert check_logits(child, exported)[0] < LOGIT_TOLERANCE
    child.train()
    child(**windows()).loss.backward()
    still = [name for name, each in child.named_parameters() if each.grad is None]
    assert not still


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_stock_transformers_refuses_or_loads_what_is_described_per_layer(family: str, tmp_path):
    """The day the installed version can build such a model, its logits must be ours."""
    import transformers.integrations.heterogeneity as heterogeneity

    plan = plan_for(family, WISHES["intermediate"])
    child = adjust.apply(MODELS[family], plan)
    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    folder = tmp_path / ragged.PER_LAYER
    config = AutoConfig.from_pretrained(folder)
    key = ragged.RAGGED_FAMILIES[family].width_key
    widths = tuple(getattr(layer, key) for layer in config.per_layer_config)
    assert widths == blocks_of(plan).intermediate_size
    if not hasattr(heterogeneity, "apply_heterogeneous_modeling"):
        with pytest.raises(Exception, match="per-layer attribute|size mismatch"):
            AutoModelForQuestionAnswering.from_pretrained(folder)
        return
    stock = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    batch = probe_batch.probe(child.config)
    torch.testing.assert_close(probe_batch.logits(stock, batch), probe_batch.logits(child, batch))


def test_what_per_layer_configurations_cannot_say_is_not_described(tmp_path):
    child = adjust.apply(MODELS["bert"], plan_for("bert", WISHES["dropped"]))
    models.save(child, models.load_tokenizer("embedded"), tmp_path)
    assert not (tmp_path / ragged.PER_LAYER).exists()
