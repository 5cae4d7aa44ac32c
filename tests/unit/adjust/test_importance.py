"""What matters stays; what is constant costs nothing; what is folded is not missed."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import PreTrainedModel

from qa_lib import adjust
from qa_lib.adjust import Sizes, probe_batch
from qa_lib.adjust.calibrate import calibrate, model_inputs, observe
from tests.support.adjust_models import CONFIGS, plan_of, tiny, windows

METHODS = ("taylor", "activation", "magnitude", "random")
HALF = Sizes((0, 1, 2), 32, 4, 12)


def silenced(model: PreTrainedModel, units: list[int]) -> PreTrainedModel:
    """Cut feed-forward units of a BERT off from both sides, so that they do nothing."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.intermediate.dense.weight[units] = 0
            layer.intermediate.dense.bias[units] = 0
            layer.output.dense.weight[:, units] = 0
    return model


def made_constant(model: PreTrainedModel, units: list[int]) -> PreTrainedModel:
    """Let feed-forward units of a BERT say the same whatever they read."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.intermediate.dense.weight[units] = 0
            layer.intermediate.dense.bias[units] += 2
    return model


@pytest.mark.parametrize("method", METHODS[:3])
def test_units_that_do_nothing_go_first(method: str):
    idle = [1, 5, 6, 20]
    parent = silenced(tiny("bert"), idle)
    sizes = Sizes((0, 1, 2), 32, 4, 20)
    plan = plan_of(parent, sizes, [windows()], importance=method)
    assert all(not set(kept) & set(idle) for kept in plan.keep.intermediate)


def test_taylor_with_fold_knows_that_a_constant_is_not_missed():
    constant = [0, 7, 11]
    parent = made_constant(tiny("bert"), constant)
    batch = windows()
    sizes = Sizes((0, 1, 2), 32, 4, 21)
    plan = plan_of(parent, sizes, [batch])
    assert all(not set(kept) & set(constant) for kept in plan.keep.intermediate)
    child = adjust.apply(parent, plan)
    assert torch.allclose(
        probe_batch.logits(child, batch), probe_batch.logits(parent, batch), atol=1e-4
    )


def test_a_head_that_is_not_read_goes_first():
    parent = tiny("bert")
    with torch.no_grad():
        for layer in parent.bert.encoder.layer:
            layer.attention.output.dense.weight[:, 8:16] = 0
    sizes = Sizes((0, 1, 2), 24, 3, 24)
    for method in ("taylor", "magnitude"):
        plan = plan_of(parent, sizes, [windows()], importance=method)
        assert plan.keep.heads == ((0, 2, 3),) * 3 or method == "magnitude"
        assert all(not {8, 9, 15} & set(plan.keep.value[i]) for i in range(3)) or (
            method == "magnitude"
        )


# ModernBERT has no biases to fold into; its norms' gains alone help less than seeds differ.
@pytest.mark.parametrize("family", [family for family in CONFIGS if family != "modernbert"])
@pytest.mark.parametrize("sizes", [HALF, Sizes((0, 1, 2), 24, 3, 24)], ids=["half", "hidden"])
def test_folding_comes_nearer_to_the_parent(family: str, sizes: Sizes):
    parent, batches = tiny(family), [windows(num_windows=16, seed=s) for s in range(4)]
    expected = probe_batch.logits(parent, batches[0])
    error = {}
    for folds in (True, False):
        plan = plan_of(parent, sizes, batches, importance="random", fold=folds)
        child = adjust.apply(parent, plan)
        error[folds] = float((probe_batch.logits(child, batches[0]) - expected).square().mean())
    assert error[True] < error[False]


def test_random_is_the_seeds_alone():
    first, same, other = (
        plan_of(tiny("bert"), HALF, [], importance="random", fold=False, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == same
    assert first.keep.intermediate != other.keep.intermediate


def test_statistics_are_over_real_tokens_and_whole_windows():
    model, batch = tiny("bert"), windows()
    reader = "bert.encoder.layer.0.output.dense"
    found = calibrate(model, [reader], [], [batch], gradients=True)[reader]
    with torch.no_grad(), observe(model, [reader]) as seen:
        model(**model_inputs(batch))
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(found.mean, seen[reader][0][real].double().mean(0))
    assert found.products.shape == (4, 24)
    in_parts = [{key: value[i : i + 1] for key, value in batch.items()} for i in range(4)]
    split = calibrate(model, [reader], [], in_parts, gradients=True)[reader]
    torch.testing.assert_close(split.products, found.products, atol=1e-5, rtol=1e-4)
