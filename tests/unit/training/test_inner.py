"""Teaching inside: the plan says where a student's states are in its teacher, in every family."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from qa_lib import adjust
from qa_lib.adjust import Sizes
from qa_lib.adjust.correspondence import composed, correspondence
from qa_lib.adjust.proof import held
from qa_lib.config import TrainSettings
from qa_lib.errors import TrainError
from qa_lib.training.correspondence import Correspondence, Projections, check
from qa_lib.training.inner import (
    InnerTeacher,
    hidden_losses,
    inner_share,
    relation_losses,
)
from qa_lib.training.losses import window_losses
from tests.support.adjust_models import CONFIGS, fitting, plan_of, tiny, windows

BATCH = windows()
BATCHES = [BATCH]
INPUTS = {name: BATCH[name] for name in ("input_ids", "attention_mask")}
BOTH = {"teacher": "any", "hidden_weight": 1.0, "relation_weight": 1.0, "distill_weight": 0.0}


def inner_losses(teacher, student, match: Correspondence, **train) -> torch.Tensor:
    """Return what a teacher adds to the label's loss, (windows,)."""
    settings = TrainSettings(**BOTH | train)
    inner = InnerTeacher(teacher, settings, match, precision="fp32", device=torch.device("cpu"))
    zero = lambda start, end, batch: 0.0 * window_losses(start, end, batch)  # noqa: E731
    return inner.losses(student, student, INPUTS, BATCH, zero, 1.0)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_students_states_are_its_held_parents(family: str):
    parent = tiny(family).double()
    sizes = fitting(family, Sizes((0, 2), 24, 3, 8))
    plan = plan_of(tiny(family), sizes, BATCHES)
    child = adjust.apply(parent, plan)
    match = correspondence(parent.config, plan)
    whole = copy.deepcopy(parent)
    with held(whole, plan), torch.no_grad():
        missed = inner_losses(whole, child, match, relation_weight=0.0)
    assert missed.max() < 1e-6
    with torch.no_grad():
        assert inner_losses(whole, child, match, relation_weight=0.0).min() > 1e-3


@pytest.mark.parametrize("family", CONFIGS)
def test_relations_of_the_last_kept_layer_are_compared(family: str):
    parent = tiny(family)
    plan = plan_of(parent, fitting(family, Sizes((0, 1), 32, 4, 24)), BATCHES, fold=False)
    match = correspondence(parent.config, plan)
    with torch.no_grad():
        same = inner_losses(parent, adjust.apply(parent, plan), match, hidden_weight=0.0)
        narrow = plan_of(parent, fitting(family, Sizes((0, 1), 24, 3, 8)), BATCHES)
        child = adjust.apply(parent, narrow)
        other = inner_losses(
            parent, child, correspondence(parent.config, narrow), hidden_weight=0.0
        )
    assert same.abs().max() < 1e-6, "the layer is the teacher's own, and has its input"
    assert other.min() > 1e-3


def test_layers_that_share_their_modules_are_told_apart_by_their_pass():
    parent = tiny("albert")
    plan = plan_of(parent, Sizes((0, 1), 32, 4, 24), BATCHES, fold=False)
    match = correspondence(parent.config, plan)
    assert match.student == match.teacher
    passes: list[torch.Tensor] = []
    queries = parent.get_submodule(match.teacher.modules[0])
    queries.register_forward_hook(lambda _, __, output: passes.append(output))
    with match.teacher.written(parent, INPUTS["attention_mask"]) as found:
        parent(**INPUTS)
    assert len(passes) == 3 and found[match.teacher.modules[0]] is passes[1]


def test_a_layer_before_a_gap_stands_for_the_gaps_last():
    parent = tiny("bert")
    plan = plan_of(parent, Sizes((0, 2), 32, 4, 24), BATCHES)
    assert correspondence(parent.config, plan).layers == (1, 2)
    plan = plan_of(parent, Sizes((0,), 32, 4, 24), BATCHES)
    assert correspondence(parent.config, plan).layers == (2,)


def test_a_model_that_was_cut_twice_finds_its_first_parent():
    parent = tiny("bert")
    first = plan_of(parent, Sizes((0, 2), 24, 3, 24), BATCHES)
    between = adjust.apply(parent, first)
    second = plan_of(between, Sizes((1,), 16, 2, 24), BATCHES)
    found = composed(correspondence(parent.config, first), correspondence(between.config, second))
    assert found.layers == (2,)
    assert found.hidden == tuple(first.keep.hidden[unit] for unit in second.keep.hidden)
    assert found.teacher_sha256 == first.parent_sha256
    assert "layer.0." in found.student.modules[0] and "layer.2." in found.teacher.modules[0]


def test_a_layer_that_is_cut_in_the_second_cut_is_not_the_last_layers_teacher():
    parent = tiny("bert")
    first = plan_of(parent, Sizes((0, 1, 2), 24, 3, 24), BATCHES)
    between = adjust.apply(parent, first)
    second = plan_of(between, Sizes((0, 1), 24, 3, 24), BATCHES)
    found = composed(correspondence(parent.config, first), correspondence(between.config, second))
    direct = correspondence(parent.config, plan_of(parent, Sizes((0, 1), 24, 3, 24), BATCHES))
    assert found.teacher == direct.teacher and found.kept == direct.kept == (0, 1)


def test_losses_know_neither_padding_nor_the_other_windows():
    generator = torch.Generator().manual_seed(0)
    own, taught = (torch.randn(2, 6, 8, generator=generator) for _ in range(2))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    pad = lambda states: torch.nn.functional.pad(states, (0, 0, 0, 3), value=9.0)  # noqa: E731
    wide = torch.nn.functional.pad(mask, (0, 3))
    for losses in (hidden_losses, lambda *states: relation_losses(*states, 2)):
        expected = losses([own], [taught], mask)
        assert torch.allclose(losses([pad(own)], [pad(taught)], wide), expected, atol=1e-5)
        assert torch.allclose(losses([own[1:]], [taught[1:]], mask[1:]), expected[1:], atol=1e-5)


def test_the_mean_state_of_a_window_misses_all_of_the_variance():
    taught = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    mean = taught.mean(1, keepdim=True).expand_as(taught)
    found = hidden_losses([mean], [taught], torch.ones(1, 5))
    assert found.item() == pytest.approx(1.0)


def test_inner_weights_fall_to_zero_in_the_last_third():
    train = TrainSettings()
    shares = [inner_share(train, step, 9) for step in range(10)]
    assert shares == pytest.approx([1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0])
    always = TrainSettings(inner_decay=0.0)
    assert inner_share(always, 9, 9) == 1.0


MATCH = Correspondence("a" * 64, (0,), (0, 1), (0,), None, ())


@pytest.mark.parametrize(
    ("train", "match", "message"),
    [
        ({"teacher": None}, MATCH, "hidden-weight needs a student that is cut from its teacher"),
        ({}, None, "only its plan says"),
        ({}, MATCH, "was cut from another one"),
    ],
)
def test_a_student_that_was_not_cut_from_the_teacher_is_refused(train, match, message):
    with pytest.raises(TrainError, match=message):
        check(TrainSettings(**BOTH | {"teacher": "embedded"} | train), match)


def test_nothing_is_refused_where_only_logits_teach():
    check(TrainSettings(teacher="embedded"), None)


def test_a_fused_map_writes_all_three():
    units = torch.arange(6.0).reshape(1, 1, 6)
    fused = Projections(("map", "map", "map"))
    assert [fused.of("map", units, place).tolist() for place in range(3)] == [
        [[[0.0, 1.0]]],
        [[[2.0, 3.0]]],
        [[[4.0, 5.0]]],
    ]
    apart = replace(fused, modules=("q", "k", "v"))
    assert torch.equal(apart.of("k", units, 1), units)
