"""What reads a cut is refitted: by the normal equations, to the fold in the limit, at seams too."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel

from qa_lib import adjust
from qa_lib.adjust import Sizes, probe_batch
from qa_lib.adjust import layers as layers_module
from qa_lib.adjust import moments as moments_module
from qa_lib.adjust import seams as seams_module
from qa_lib.adjust.calibrate import calibrate, model_inputs, observe, rows_of
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.divergence import Reference, _spans
from qa_lib.adjust.fold import measure_fold
from qa_lib.adjust.layers import best_layers
from qa_lib.adjust.moments import Accumulator, measure_moments
from qa_lib.adjust.refit import RESIDUAL_TOLERANCE, RIDGE, fit
from qa_lib.adjust.seams import Seams
from qa_lib.adjust.selection import cut_readers, kept_outputs, readers
from qa_lib.adjust.surgery import cut, drop_layers
from qa_lib.errors import AdjustError
from qa_lib.models.kernels import Kernels
from tests.support.adjust_models import CONFIGS, fitting, plan_of, tiny, windows

WIDTHS = Sizes((0, 1, 2), 24, 3, 10)
BATCHES = [windows(num_windows=16, seed=seed) for seed in range(4)]
REPAIRABLE = [family for family in CONFIGS if family != "albert"]


@pytest.mark.parametrize("family", CONFIGS)
def test_an_infinite_ridge_is_the_fold_of_means_to_the_bit(family: str):
    parent = tiny(family)
    groups = groups_of(parent.config)
    plan = plan_of(parent, fitting(family, WIDTHS), BATCHES, refit=False)
    names = [name for _, name in readers(groups)]
    statistics = calibrate(parent, names, [], BATCHES, gradients=False)
    fold = measure_fold(
        parent,
        groups,
        plan.keep,
        statistics,
        BATCHES,
        moments=measure_moments(parent, names, BATCHES),
        ridge=math.inf,
    )
    assert not fold.held and fold.refitted
    folded, limit = (cut(parent.state_dict(), groups, plan.keep, f) for f in (plan.fold, fold))
    assert folded.keys() == limit.keys()
    for name, tensor in folded.items():
        assert torch.equal(limit[name], tensor), name


@pytest.mark.parametrize("family", CONFIGS)
def test_refitted_maps_solve_the_normal_equations_on_the_calibration_windows(family: str):
    parent = tiny(family).double()
    groups, plan = groups_of(parent.config), plan_of(tiny(family), fitting(family, WIDTHS), BATCHES)
    with torch.no_grad(), observe(parent, [name for _, name in readers(groups)]) as seen:
        masks = []
        for batch in BATCHES:
            parent(**model_inputs(batch))
            masks += [batch["attention_mask"]] * (3 if family == "albert" else 1)
    checked = 0
    for group, name in cut_readers(groups, plan.keep):
        if len(seen[name]) != len(masks):
            continue  # a map that reads relative positions too
        rows = [rows_of([units], mask) for units, mask in zip(seen[name], masks, strict=True)]
        units, module = torch.cat(rows), parent.get_submodule(name)
        kept = list(plan.keep.of(group))
        outputs = kept_outputs(groups, plan.keep, name)
        old = module.weight[outputs]
        new = plan.fold.refitted[f"{name}.weight"].double()
        error = units[:, kept] @ new.T - units @ old.T  # (tokens, outputs)
        inputs = units[:, kept]
        if module.bias is not None:
            error = error + plan.fold.refitted[f"{name}.bias"].double() - module.bias[outputs]
            torch.testing.assert_close(
                error.mean(0), error.new_zeros(()).expand(len(new)), atol=1e-5, rtol=0.0
            )
            inputs = inputs - inputs.mean(0)
        covariance = inputs.T @ inputs / len(inputs)
        pull = RIDGE * covariance.diagonal().mean() * (new - old[:, kept])
        terms = error.T @ inputs / len(inputs) + pull
        assert terms.abs().max() < 1e-4 * covariance.diagonal().mean(), name
        checked += 1
    assert checked >= len(groups.layers)


def test_a_refitted_weight_that_is_not_the_plans_is_caught():
    parent = tiny("bert")
    plan = plan_of(parent, Sizes((0, 2), 32, 4, 10), BATCHES)
    wrong = copy.deepcopy(adjust.apply(parent, plan))
    with torch.no_grad():
        wrong.bert.encoder.layer[0].output.dense.weight[0, 0] += 1e-2
    with pytest.raises(AdjustError, match="logits differ"):
        adjust.prove(parent, wrong, plan)


def test_a_fit_that_does_not_solve_its_equations_is_caught():
    parent = tiny("bert")
    plan = plan_of(parent, Sizes((0, 1, 2), 32, 4, 10), BATCHES)
    loose = plan.model_copy(update={"fold": plan.fold.model_copy(update={"residual": 1e-3})})
    with pytest.raises(AdjustError, match="normal equations"):
        adjust.prove(parent, adjust.apply(parent, plan), loose)


def test_only_what_reads_the_cut_is_changed():
    plan = plan_of(tiny("bert"), Sizes((0, 1, 2), 32, 4, 10), BATCHES)
    assert set(plan.changed) == {
        f"bert.encoder.layer.{layer}.output.dense.{parameter}"
        for layer in range(3)
        for parameter in ("weight", "bias")
    }
    assert set(plan.changed) == set(plan.fold.refitted)


def test_units_without_finite_statistics_are_refused():
    parent = tiny("bert")
    with torch.no_grad():
        parent.bert.encoder.layer[1].intermediate.dense.bias[3] = math.inf
    with pytest.raises(AdjustError, match="not finite"):
        plan_of(parent, Sizes((0, 1, 2), 32, 4, 10), BATCHES, importance="magnitude")


@pytest.mark.parametrize(("mean", "deviation"), [(3.0, 0.0), (30.0, 1e-7), (10.0, 1e-3)])
@pytest.mark.parametrize("sizes", [Sizes((0, 1, 2), 32, 4, 8), Sizes((0, 2), 32, 4, 24)])
def test_no_fit_to_units_that_hardly_vary_amplifies_their_rounding(
    mean: float, deviation: float, sizes: Sizes
):
    parent = tiny("bert")
    with torch.no_grad():
        for layer in parent.bert.encoder.layer[:2]:
            layer.intermediate.dense.weight.mul_(deviation)
            layer.intermediate.dense.bias.fill_(mean)
    plan = plan_of(parent, sizes, BATCHES)  # units go, or a layer
    child = adjust.apply(parent, plan)
    adjust.prove(parent, child, plan)
    exact = copy.deepcopy(child).double()
    for batch in BATCHES:
        torch.testing.assert_close(
            probe_batch.logits(child, batch).double(),
            probe_batch.logits(exact, batch).double(),
            rtol=0.0,
            atol=0.02,
        )


def test_moments_of_units_that_are_small_beside_their_means_are_exact():
    torch.manual_seed(0)
    left, right = 30 + 1e-3 * torch.randn(500, 6), torch.randn(500, 4) - 5
    sums = Accumulator()
    for rows in (slice(0, 100), slice(100, 500)):
        sums.add(left[rows], right[rows])
    exact = left.double(), right.double()
    for centred in (True, False):
        a, b = ((t - t.mean(0)) if centred else t for t in exact)
        torch.testing.assert_close(
            sums.covariance(centred=centred), a.T @ b / len(a), rtol=1e-5, atol=1e-8
        )


@pytest.mark.parametrize("rows_of_part", [1, 8192])
def test_moments_of_units_with_themselves_are_exact_in_any_parts(
    monkeypatch: pytest.MonkeyPatch, rows_of_part: int
):
    monkeypatch.setattr(moments_module, "_BLOCK", 3)
    monkeypatch.setattr(moments_module, "_ROWS_OF_PART", rows_of_part)
    torch.manual_seed(0)
    units, sums = torch.randn(300, 7) + 2, Accumulator()
    for rows in units.split(130):
        sums.add(rows, rows)
    exact = units.double()
    for centred in (True, False):
        a = exact - exact.mean(0) * centred
        torch.testing.assert_close(
            sums.covariance(centred=centred), a.T @ a / len(a), rtol=1e-5, atol=1e-6
        )


def test_a_covariance_that_rounding_left_negative_gets_more_ridge():
    weight, bias = torch.randn(3, 4), torch.randn(3)
    covariance = torch.diag(torch.tensor([1.0, 1.0, 1.0, -0.5], dtype=torch.float64))
    missing = torch.ones(3, 4, dtype=torch.float64)
    means = torch.zeros(4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    fitted = fit(weight, bias, covariance, missing, means)
    assert fitted.weight.isfinite().all() and fitted.residual < RESIDUAL_TOLERANCE
    with pytest.raises(AdjustError, match="not finite"):
        fit(weight, bias, covariance * math.inf, missing, means)


@pytest.mark.parametrize("family", REPAIRABLE)
def test_a_repaired_seam_writes_the_parents_stream_after_the_gap(family: str):
    parent = tiny(family)
    seams = Seams(parent, BATCHES)
    layers = (0,)
    repair = seams.repair(layers)
    plan = plan_of(parent, replace(Sizes.of(parent.config), layers=layers), BATCHES)
    assert set(plan.fold.refitted) == set(repair.tensors)
    child = adjust.apply(parent, plan)
    adjust.prove(parent, child, plan)
    errors = {}
    for refit in (True, False):
        own = plan_of(parent, plan.keep.sizes, BATCHES, refit=refit)
        cut_model = adjust.apply(parent, own)
        errors[refit] = sum(
            float(
                (probe_batch.logits(cut_model, batch) - probe_batch.logits(parent, batch))
                .square()
                .mean()
            )
            for batch in BATCHES
        )
    assert errors[True] < errors[False]
    # The last layer's norm, where layers end in one, is that of the layer that stays.
    ends = {name.rsplit(".", 1)[0] for name in plan.changed} - {
        name.rsplit(".", 1)[0] for name in plan.fold.refitted
    }
    assert len(ends) == (family != "modernbert")
    for name in ends:
        there = name.replace(".0.", ".2.")
        assert torch.equal(child.get_submodule(name).weight, parent.get_submodule(there).weight)


def test_layers_that_share_their_weights_have_no_seam():
    assert Seams(tiny("albert"), BATCHES).repair((0,)).tensors == {}


def with_idle_layer(layer: int) -> PreTrainedModel:
    """Make a BERT one of whose layers passes the stream on as it is, but for its LayerNorms."""
    parent = tiny("bert")
    idle = parent.bert.encoder.layer[layer]
    with torch.no_grad():
        for module in (idle.attention.output.dense, idle.output.dense):
            module.weight.zero_()
            module.bias.zero_()
        for norm in (idle.attention.output.LayerNorm, idle.output.LayerNorm):
            norm.weight.fill_(1.0)
            norm.bias.zero_()
    return parent


@pytest.mark.parametrize("idle", [0, 1])
def test_the_best_layers_leave_out_the_one_that_does_nothing(idle: int):
    parent = with_idle_layer(idle)
    kept = best_layers(parent, 2, BATCHES, seams=Seams(parent, BATCHES))
    assert kept == tuple(layer for layer in range(3) if layer != idle)


def test_layers_that_go_one_at_a_time_leave_out_the_same(monkeypatch: pytest.MonkeyPatch):
    parent = with_idle_layer(1)
    monkeypatch.setattr(layers_module, "_MOST", 1)
    kept = best_layers(parent, 2, BATCHES, seams=Seams(parent, BATCHES))
    assert kept == (0, 2)


def test_only_layers_that_fit_their_new_place_are_tried():
    parent = tiny("modernbert")
    assert best_layers(parent, 1, BATCHES, seams=Seams(parent, BATCHES)) == (0,)
    assert best_layers(tiny("albert"), 2, BATCHES, seams=None) == (0, 1)


def test_a_model_does_not_diverge_from_itself_and_labels_do_not_matter():
    parent, other = tiny("bert"), tiny("bert", seed=1)
    reference = Reference(parent, BATCHES)
    assert reference.divergence(parent) == 0.0
    unlabelled = [model_inputs(batch) for batch in BATCHES]
    assert Reference(parent, unlabelled).divergence(other) == reference.divergence(other) > 0.0


@pytest.mark.parametrize("family", REPAIRABLE)
def test_a_model_that_starts_at_the_parents_stream_diverges_as_the_whole_does(family: str):
    parent = tiny(family)
    seams = Seams(parent, BATCHES)
    plain, knowing = (Reference(parent, BATCHES, keeps_streams=keeps) for keeps in (False, True))
    for layers, repaired, num_shared in (
        ((0, 1), True, 1),
        ((0, 1), False, 1),
        ((0, 2), True, 0),
        ((0, 2), False, 1),
    ):
        if not layers_module._fits(parent.config, layers):
            continue
        assert layers_module._num_shared(layers, repaired) == num_shared
        state = seams.repair(layers).state() if repaired else {}
        model = drop_layers(parent, layers, state)
        before = len(list(model.modules()))
        found = knowing.divergence(model, num_shared)
        assert found == pytest.approx(plain.divergence(model), rel=1e-5) and found > 0.0
        assert knowing.divergence(model) == plain.divergence(model)  # it is whole again
        assert len(list(model.modules())) == before


@pytest.mark.parametrize("num_batches", range(1, 10))
def test_a_rough_divergence_takes_some_batches_and_not_only_the_shortest(num_batches: int):
    parent, other = tiny("bert"), tiny("bert", seed=1)
    batches, used = BATCHES * 3, []
    reference = Reference(parent, batches[:num_batches], most=None)
    other.register_forward_hook(lambda *_: used.append(1))
    assert reference.divergence(other, roughly=True) > 0.0
    assert len(used) == max(1, round(num_batches / 4))


def test_seams_of_all_gaps_take_one_pass_unless_they_are_too_large(
    monkeypatch: pytest.MonkeyPatch,
):
    parent, passes = tiny("bert"), []
    parent.register_forward_hook(lambda *_: passes.append(1))
    seams = Seams(parent, BATCHES)
    seams.measure_gaps(longest=1)
    seams.measure([(0, 2), (0, 1)])
    assert len(passes) == len(BATCHES)
    seams.measure([(0,)])  # a gap of two
    assert len(passes) == 2 * len(BATCHES)
    monkeypatch.setattr(seams_module, "_MOST_BYTES", 0)
    Seams(parent, BATCHES).measure_gaps()
    assert len(passes) == 2 * len(BATCHES)


def test_with_bf16_kernels_both_models_compute_in_bf16():
    parent, other = tiny("bert"), tiny("bert", seed=1)
    exact, rounded = Reference(parent, BATCHES), Reference(parent, BATCHES, kernels=Kernels("bf16"))
    assert rounded.divergence(parent) == 0.0
    assert rounded.divergence(other) != exact.divergence(other)
    assert rounded.divergence(other) == pytest.approx(exact.divergence(other), rel=0.1)


def test_answers_agree_with_themselves_whatever_the_temperature():
    parent, other = tiny("bert"), tiny("bert", seed=1)
    reference = Reference(parent, BATCHES)
    assert reference.agreement(parent) == 1.0
    assert reference.agreement(other) < 0.9
    softer = copy.deepcopy(parent)
    with torch.no_grad():
        softer.qa_outputs.weight *= 0.5
        softer.qa_outputs.bias *= 0.5
    assert reference.agreement(softer) == 1.0
    assert reference.divergence(softer) > 0.0


def test_an_answer_is_no_longer_than_thirty_tokens_and_ends_after_its_start():
    shares = torch.full((2, 1, 40), -9.0)
    shares[0, 0, 2], shares[1, 0, 35], shares[1, 0, 1], shares[1, 0, 20] = 0.0, 0.0, -0.1, -1.0
    start, end = _spans(shares)
    assert (start.item(), end.item()) == (2, 20)
