"""The latency model, and sizes that are fitted to the speed asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qa_lib.adjust import Sizes
from qa_lib.config import SpaceSettings, parse
from qa_lib.errors import ConfigError, ResourceError
from qa_lib.models import build
from qa_lib.models.ragged import Blocks
from qa_lib.search import latency_table, speed
from qa_lib.search.latency_model import LatencyModel, Point, with_width
from qa_lib.search.space import Choices, choices_of
from qa_lib.search.speed import Speedup
from qa_lib.search.target import target_of
from qa_lib.serving import onnx
from tests.support.one_shot import CONFIG

PARENT = Sizes.of(CONFIG)
STREAM = (32, 4)


def model() -> LatencyModel:
    """A whole layer takes 10 ms: 4, of which a head half, and 6 for its units; the rest 2."""
    points = [Point(32, 4, 4, width, 4 + 6 * width / 64) for width in (0, 8, 64)]
    points += [Point(32, 4, heads, 64, 2 + heads / 2 + 6) for heads in (0, 2)]
    return LatencyModel(PARENT, tuple(points), ((STREAM, 2.0),))


def choices(**values: Any) -> Choices:
    return choices_of(CONFIG, SpaceSettings(**values))


def test_a_model_takes_the_sum_of_its_layers_between_measured_widths():
    assert model().ms(PARENT) == pytest.approx(42.0)
    assert model().ms(replace(PARENT, intermediate_size=32)) == pytest.approx(4 * 7 + 2)
    ragged = replace(PARENT, layers=(0, 1), blocks=Blocks((2, 4), (64, 0)))
    assert model().ms(ragged) == pytest.approx(2 + (2 + 1 + 6) + 4)


def test_times_that_fall_with_the_width_are_averaged():
    points = [
        Point(32, 4, 4, width, ms) for width, ms in ((8, 4.0), (16, 9.0), (32, 7.0), (64, 10.0))
    ]
    noisy = LatencyModel(PARENT, tuple(points), ((STREAM, 0.0),))
    assert [noisy.layer_ms(STREAM, 4, width) for width in (8, 16, 32, 64)] == [4.0, 8.0, 8.0, 10.0]


def test_a_model_comes_back_from_the_journal():
    for one in (model(), replace(model(), factors=((STREAM, 1.1), ((24, 3), 0.9)))):
        assert LatencyModel.from_row(json.loads(json.dumps(one.row()))) == one


def test_streams_that_were_measured_in_a_slow_hour_are_corrected_by_whole_models():
    narrow = [Point(24, 3, 3, width, 1.5 * point.ms) for width, point in _by_width(model()).items()]
    slow = replace(
        model(), points=(*model().points, *narrow), rest=((STREAM, 2.0), ((24, 3), 2.0 * 1.5))
    )
    whole = [
        replace(PARENT, layers=(0, 1)),
        replace(PARENT, layers=(0,), intermediate_size=8),
        Sizes((0, 1), 24, 3, 32),
    ]
    stated = [model().speedup(replace(one, hidden_size=32, num_heads=4)) for one in whole]
    fitted = slow.fitted(whole, stated)
    assert dict(fitted.factors) == pytest.approx({STREAM: 1.0, (24, 3): 1 / 1.5})
    assert [fitted.speedup(one) for one in whole] == pytest.approx(stated)
    assert fitted.speedup(PARENT) == 1.0
    other = slow.fitted(whole[2:], stated[2:])  # says nothing of the first stream but by the second
    assert other.ms(whole[0]) == pytest.approx(slow.ms(whole[0]) / 1.5)


def _by_width(latency: LatencyModel) -> dict[int, Point]:
    return {point.width: point for point in latency.points if point.num_kept == 4}


def test_a_journal_of_before_says_a_factor_on_all_but_the_layers():
    row = model().row() | {"overhead": 3.0}
    del row["factors"]
    assert LatencyModel.from_row(row).ms(PARENT) == pytest.approx(40.0 + 3 * 2.0)


def test_widths_of_ragged_models_shrink_together():
    ragged = replace(PARENT, layers=(0, 1), blocks=Blocks((2, 4), (64, 32)))
    assert with_width(ragged, 32).blocks == Blocks((2, 4), (32, 16))
    wide = model().widest(ragged, 3.0, range(8, 65, 8))
    assert wide is not None and model().speedup(wide) >= 3.0
    wider = with_width(ragged, wide.intermediate_size + 8)
    assert model().speedup(wider) < 3.0


class Machine:
    """A machine on which models are slower than the latency model says, the narrow ones more."""

    def __init__(self, error: float) -> None:
        self.error, self.measured = error, list[Sizes]()

    def __call__(self, sizes: Sizes) -> Speedup:
        self.measured.append(sizes)
        value = model().speedup(sizes) ** (1 - self.error)
        return Speedup(value, value * 0.98, value * 1.02)


@pytest.mark.parametrize("error", [-0.1, 0.0, 0.1, 0.2])
def test_sizes_are_solved_again_until_they_have_the_speed(error: float):
    fine = replace(choices(), widths=tuple(range(4, 65)))
    machine = Machine(error)
    start = model().widest(replace(PARENT, layers=(0, 1, 2)), 1.6, fine.widths)
    assert start is not None
    sizes, found = speed.fit(start, 1.6, model(), fine, machine)
    assert 1.6 * 0.98 <= found.value <= 1.6 * 1.02
    assert len(machine.measured) == len(set(machine.measured)) <= 5
    assert found.meets(1.6) and sizes in machine.measured


def test_a_model_that_is_wrong_about_widths_is_corrected_between_two_measurements():
    """Widths count twice as much as it says: solving by its line alone would go to and fro."""

    def measure(sizes: Sizes) -> Speedup:
        measured.append(sizes.intermediate_size)
        middle = model().ms(replace(sizes, intermediate_size=40))
        value = model().ms(PARENT) / (2 * model().ms(sizes) - middle)
        return Speedup(value, value, value)

    measured: list[int] = []
    fine = replace(choices(), widths=tuple(range(4, 65)))
    start = replace(PARENT, layers=(0, 1, 2), intermediate_size=60)
    sizes, found = speed.fit(start, 1.6, model(), fine, measure)
    assert 1.6 <= found.value <= 1.6 * 1.02 and sizes.intermediate_size == measured[-1]
    assert len(measured) == 3


def test_a_speed_that_is_roughly_known_saves_a_measurement():
    fine = replace(choices(), widths=tuple(range(4, 65)))
    start = model().widest(replace(PARENT, layers=(0, 1, 2)), 1.6, fine.widths)
    assert start is not None
    machine = Machine(0.2)
    rough = machine(start).value
    speed.fit(start, 1.6, model(), fine, plain := Machine(0.2))
    _, found = speed.fit(start, 1.6, model(), fine, informed := Machine(0.2), rough)
    assert found.meets(1.6) and len(informed.measured) < len(plain.measured)
    assert start not in informed.measured


def test_named_widths_are_kept_and_the_nearest_that_has_the_speed_is_taken():
    fixed = choices(intermediate_size=(16, 32, 64))
    sizes, found = speed.fit(replace(PARENT, layers=(0, 1, 2)), 1.6, model(), fixed, Machine(0.1))
    assert sizes.intermediate_size in (16, 32, 64)
    assert found.value >= 1.6
    one = choices(intermediate_size=(64,))
    sizes, found = speed.fit(replace(PARENT, layers=(0, 1, 2)), 1.6, model(), one, Machine(0.1))
    assert sizes.intermediate_size == 64 and not found.meets(1.6)


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ResourceError, match="no GPU"):
        target_of(parse("tune", ["--search.target", "cuda"]))
    with pytest.raises(ConfigError, match="as_onnx"):
        target_of(parse("tune", ["--search.target", "onnx"]))
    assert target_of(parse("tune", [])).name == "cpu"


def test_models_for_onnxruntime_are_timed_there():
    target = target_of(parse("tune", ["--search.target", "onnx-int8"]), onnx.as_onnx)
    small = replace(PARENT, layers=(0,), intermediate_size=8)
    assert isinstance(target.place(build(small.apply(CONFIG)).eval()), onnx.OnnxModel)
    assert min(latency_table.predict(CONFIG, [small], target)) > 0
    builds = latency_table.measure_builds(CONFIG, [PARENT, small], target, 1)
    assert np.shape(builds) == (1, 2) and np.min(builds) > 0
