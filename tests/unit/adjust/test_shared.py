"""Plans from one calibration are those of `make_plan` where no layer goes, and prove as they do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from qa_lib import adjust
from qa_lib.adjust import SharedCalibration, Sizes
from qa_lib.adjust.divergence import Reference
from qa_lib.config import AdjustSettings
from qa_lib.models.ragged import Blocks
from tests.support.adjust_models import CONFIGS, fitting, tiny, windows

BATCHES = [windows(seed=1), windows(seed=2)]
FAMILIES = sorted(CONFIGS)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_layers_dropped_the_plan_is_that_of_make_plan(family: str):
    parent = tiny(family)
    whole = Sizes.of(parent.config)
    shared = SharedCalibration(parent, BATCHES)
    for wish in (
        replace(whole, intermediate_size=8),
        replace(whole, hidden_size=24, num_heads=3, intermediate_size=16),
    ):
        plan = shared.plan(fitting(family, wish))
        expected = adjust.make_plan(parent, fitting(family, wish), BATCHES)
        assert plan.keep == expected.keep
        assert plan.fold.norms == expected.fold.norms
        ours, theirs = plan.fold.refitted, expected.fold.refitted
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, theirs[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_with_layers_dropped_is_proved_and_replayed(family: str):
    parent = tiny(family)
    shared = SharedCalibration(parent, BATCHES)
    sizes = fitting(family, Sizes((0, 2), 24, 3, 16))
    plan = shared.plan(sizes)
    child = adjust.apply(parent, plan)
    adjust.prove(parent, child, plan)
    again = shared.cut(sizes)
    for name, tensor in child.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)


def test_ragged_sizes_are_kept_as_they_are_given():
    parent = tiny("bert")
    sizes = Sizes((0, 2), 32, 4, 24, blocks=Blocks((4, 1), (0, 24)))
    plan = SharedCalibration(parent, BATCHES).plan(sizes)
    assert plan.keep.sizes == sizes
    adjust.prove(parent, adjust.apply(parent, plan), plan)


@pytest.mark.parametrize("settings", [{"refit": False}, {"fold": False}], ids=str)
def test_without_refit_or_fold_the_plans_agree_too(settings):
    parent = tiny("bert")
    sizes = replace(Sizes.of(parent.config), intermediate_size=8)
    wish = AdjustSettings(**settings)
    shared = SharedCalibration(parent, BATCHES, wish)
    expected = adjust.make_plan(parent, sizes, BATCHES, wish)
    assert shared.plan(sizes) == expected


def test_the_refit_brings_the_cut_nearer_to_the_parent():
    parent = tiny("bert")
    sizes = replace(Sizes.of(parent.config), layers=(0, 1), intermediate_size=12)
    reference = Reference(parent, BATCHES)
    near, far = (
        reference.divergence(
            SharedCalibration(parent, BATCHES, AdjustSettings(refit=on)).cut(sizes)
        )
        for on in (True, False)
    )
    assert near < far
