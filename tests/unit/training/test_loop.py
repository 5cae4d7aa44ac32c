"""The training loop: batches in the plan's order, from a step until a step, or until an ending."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.engine import Engine, StepResult
from qa_lib.training.loop import planned_batches, take_steps
from qa_lib.windows import PadSpec

NUM_WINDOWS = 10
PAD = PadSpec(pad_id=0, pad_type_id=0, token_types=False)
PLAN = BatchPlan(np.full(NUM_WINDOWS, 3, np.int32), global_batch=4, num_epochs=2, seed=0)
WINDOWS = pa.table(
    {
        "input_ids": [[number + 1] * 3 for number in range(NUM_WINDOWS)],
        "length": pa.array([3] * NUM_WINDOWS, pa.int32()),
        "start": pa.array([0] * NUM_WINDOWS, pa.int32()),
        "end": pa.array([1] * NUM_WINDOWS, pa.int32()),
        "second_segment": pa.array([1] * NUM_WINDOWS, pa.int32()),
    }
)


class Counter:
    """Stands in for the engine: notes the windows of weight 1 that it is given."""

    def __init__(self, step_number: int = 0) -> None:
        self.step_number = step_number
        self.steps: list[list[int]] = []

    def step(self, micro_batches, num_windows):
        first_tokens = [
            token - 1
            for batch, weights in micro_batches
            for token in batch["input_ids"][weights == 1, 0].tolist()
        ]
        assert len(first_tokens) == num_windows
        self.steps.append(first_tokens)
        self.step_number += 1
        return StepResult(loss=0.0, skipped=False, stop=False, regroup=False, writing=False)


def batches(first_step: int = 0):
    return planned_batches(
        PLAN, lambda rows: WINDOWS.take(pa.array(rows)), PAD, 2, first_step=first_step
    )


def test_every_window_is_trained_once_per_epoch_and_fillers_weigh_nothing():
    engine = Counter()
    assert take_steps(engine, batches(), PLAN.num_steps) == "done"
    assert [sorted(step) for step in engine.steps] == [
        sorted(PLAN.batch(step).tolist()) for step in range(PLAN.num_steps)
    ]


def test_a_loop_goes_on_where_another_ended():
    straight, engine = Counter(), Counter()
    take_steps(straight, batches(), PLAN.num_steps)
    take_steps(engine, batches(), 2)
    assert len(engine.steps) == 2
    take_steps(engine, batches(first_step=2), PLAN.num_steps)
    assert engine.steps == straight.steps
    take_steps(engine, batches(first_step=6), 3)
    assert engine.step_number == PLAN.num_steps, "a loop that is past its end takes no step"


def test_batches_of_another_step_are_refused():
    with pytest.raises(AssertionError, match="4 follows 0"):
        take_steps(Counter(step_number=1), batches(first_step=4), PLAN.num_steps)


def test_an_ending_ends_the_loop():
    engine = Counter()
    stop = lambda batch, _: "stopped" if batch.step == 1 else None  # noqa: E731
    assert take_steps(engine, batches(), PLAN.num_steps, stop) == "stopped"
    assert engine.step_number == 2


def test_scaled_gradients_of_fp16_are_left_to_deepspeed():
    """Their norm is infinite in fp16 where they are not; DeepSpeed checks them, and rescales."""
    gradients = [torch.full((1000,), 3e4, dtype=torch.float16)]
    assert torch.nn.utils.get_total_norm(gradients).isinf()
    model = SimpleNamespace(parameters=lambda: [SimpleNamespace(grad=gradients[0])])
    own = SimpleNamespace(_clips_itself=False, zero_stage=0, model=model)
    assert Engine._clip(own)
