"""A cut in steps: sizes between, the choice made anew, and one plan at the end."""

from __future__ import annotations

import pytest
import torch

from qa_lib import adjust, config
from qa_lib.adjust import Sizes
from qa_lib.adjust.calibrate import model_inputs
from qa_lib.adjust.divergence import divergence_loss, taught
from qa_lib.adjust.steps import between
from qa_lib.errors import ConfigError
from tests.support.adjust_models import CONFIGS, fitting, plan_of, reread, tiny, windows

BATCHES = [windows(num_windows=8, seed=seed) for seed in range(2)]


def test_steps_are_geometric_in_every_width():
    whole, target = Sizes((0, 1, 2), 384, 12, 1536), Sizes((0, 2), 96, 3, 96)
    found = [between(whole, target, step / 2, 8) for step in (1, 2)]
    assert found == [Sizes((0, 2), 192, 6, 384), target]


def test_a_smaller_head_size_takes_steps_too():
    whole, target = Sizes((0,), 64, 4, 32), Sizes((0,), 16, 4, 32)
    assert between(whole, target, 0.5, 8) == Sizes((0,), 32, 4, 32)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_cut_in_steps_is_one_plan_that_is_proved_and_replayed_to_the_byte(family: str):
    parent = tiny(family)
    sizes = fitting(family, Sizes((0, 1), 24, 3, 8))
    plan = reread(plan_of(parent, sizes, BATCHES, steps=3, round_to=4))
    assert plan.keep.sizes == sizes
    child = adjust.apply(parent, plan)
    adjust.prove(parent, child, plan)
    assert plan.to_json() == plan_of(parent, sizes, BATCHES, steps=3, round_to=4).to_json()


def test_steps_choose_other_units_and_none_that_went_before():
    parent = tiny("bert")
    sizes = Sizes((0, 1, 2), 32, 4, 6)
    kept = {
        steps: plan_of(parent, sizes, BATCHES, steps=steps, round_to=1).keep.intermediate
        for steps in (1, 4)
    }
    assert kept[1] != kept[4]
    half = between(Sizes.of(parent.config), sizes, 0.5, 1)
    first = plan_of(parent, half, BATCHES).keep.intermediate
    last = plan_of(parent, sizes, BATCHES, steps=2, round_to=1).keep.intermediate
    assert all(set(few) <= set(many) for few, many in zip(last, first, strict=True))


@torch.no_grad()
def test_later_steps_need_no_labels():
    parent, child = tiny("bert"), tiny("bert", seed=1)
    batches = taught(parent, BATCHES)
    assert float(divergence_loss(parent, batches[0])) == pytest.approx(0.0, abs=1e-5)
    expected = float(divergence_loss(child, batches[0]))
    assert expected > 0.01
    others = {key: torch.zeros_like(v) for key, v in batches[0].items() if "positions" in key}
    assert float(divergence_loss(child, batches[0] | others)) == expected
    assert set(model_inputs(batches[0])) == {"input_ids", "attention_mask"}


def test_ragged_layers_are_cut_at_once():
    flags = ["--adjust.intermediate-size", "8", "--adjust.ragged", "--adjust.steps", "2"]
    with pytest.raises(ConfigError, match=r"adjust.steps \(2\) and adjust.ragged"):
        config.parse("adjust", flags)
