"""One rank of the ZeRO tests: a real process of a gloo group on loopback.

python tests/support/zero_rank.py RANK WORLD_SIZE FOLDER

Trains the same tiny BERT in many ways and writes the results to FOLDER/world-W-rank-R.pt, for
test_zero.py to compare. One start of torch and DeepSpeed serves all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from transformers import BertConfig, BertForQuestionAnswering

from qa_lib import models
from qa_lib.config import TrainSettings
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.training import state
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.correspondence import Correspondence, Projections
from qa_lib.training.engine import Engine, StepResult
from qa_lib.training.group import gather, join_group
from qa_lib.training.inner import InnerTeacher
from qa_lib.training.loop import planned_batches, take_steps
from qa_lib.training.losses import window_losses
from qa_lib.windows import PadSpec, collate

NUM_STEPS = 12
STAGES = (0, 1, 2, 3)
PAD = PadSpec(pad_id=0, pad_type_id=0, token_types=True)
DEVICE = torch.device("cpu")


def window_table(num_windows: int, seed: int) -> pa.Table:
    """Draw windows of 10 to 48 random tokens with labels."""
    random = np.random.default_rng(seed)
    lengths = random.integers(10, 49, num_windows).astype(np.int32)
    spans = np.sort(random.integers(0, lengths[:, None], (num_windows, 2)), axis=1)
    return pa.table(
        {
            "input_ids": [random.integers(1, 97, n).astype(np.int32) for n in lengths],
            "length": lengths,
            "start": spans[:, 0].astype(np.int32),
            "end": spans[:, 1].astype(np.int32),
            "second_segment": (lengths // 3).astype(np.int32),
        }
    )


# 37 windows in batches of 8: the last batch of an epoch holds 5 windows and 3 fillers.
WINDOWS = window_table(37, seed=1)
FIXED = collate(window_table(64, seed=2), PAD)
PLAN = BatchPlan(
    lengths=WINDOWS["length"].to_numpy(),
    global_batch=8,
    num_epochs=3,
    seed=5,
    bucket_batches=2,
    max_steps=NUM_STEPS,
)


def build(
    *,
    micro_batch: int,
    precision: str = "fp32",
    dropout: float = 0.0,
    new_head: bool = False,
    losses: Callable | None = None,
    **train,
) -> Engine:
    """Hand a tiny BERT, the same on every rank, to a new engine."""
    model = tiny_bert(num_layers=1, dropout=dropout)
    settings = TrainSettings(
        **{"num_workers": dist.get_world_size(), "global_batch": 8, "micro_batch": micro_batch}
        | train
    )
    return Engine(
        model,
        settings,
        precision=precision,
        device=DEVICE,
        num_steps=NUM_STEPS,
        micro_batch=micro_batch,
        new_head=new_head,
        losses=losses,
        inner=inner_teacher(settings, precision) if settings.teaches_inside else None,
    )


def tiny_bert(*, num_layers: int, dropout: float = 0.0) -> BertForQuestionAnswering:
    """Draw a BERT, the same in every process."""
    torch.manual_seed(0)
    return BertForQuestionAnswering(
        BertConfig(
            vocab_size=97,
            hidden_size=32,
            num_hidden_layers=num_layers,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def inner_teacher(settings: TrainSettings, precision: str) -> InnerTeacher:
    """Make a teacher of two layers, whose second the student's only layer stands for."""
    names = ("query", "key", "value")
    layers = [
        Projections(tuple(f"bert.encoder.layer.{n}.attention.self.{name}" for name in names))
        for n in (0, 1)
    ]
    student, was = layers
    match = Correspondence("", (1,), tuple(range(32)), (1,), student, (was,))
    return InnerTeacher(
        tiny_bert(num_layers=2), settings, match, precision=precision, device=DEVICE
    )


def run(engine: Engine, until: int = NUM_STEPS) -> list[StepResult]:
    """Take this rank's steps of the plan."""
    batches = planned_batches(
        PLAN,
        lambda indices: WINDOWS.take(pa.array(indices)),
        PAD,
        engine.settings.micro_batch,
        first_step=engine.step_number,
        rank=dist.get_rank(),
        world_size=dist.get_world_size(),
    )
    results: list[StepResult] = []
    take_steps(engine, batches, until, lambda _, result: results.append(result))
    return results


def losses_of(results: list[StepResult]) -> list[float]:
    """Return the loss of each step."""
    return [result.loss for result in results]


def fixed_logits(engine: Engine) -> torch.Tensor:
    """Return the logits of the fixed windows, (2, windows, tokens)."""
    engine.model.eval()
    with torch.no_grad():
        output = engine.model(**{k: v for k, v in FIXED.items() if not k.endswith("_positions")})
    engine.model.train()
    return torch.stack([output.start_logits, output.end_logits])


def train_all(engine: Engine) -> dict:
    """Train to the end and return what can be compared."""
    losses = losses_of(run(engine))
    return {
        "stage": engine.zero_stage,
        "is_deepspeed": f"{type(engine._engine).__module__}.{type(engine._engine).__qualname__}",
        "losses": losses,
        "logits": fixed_logits(engine),
        "weights": engine.gather_weights(),
        "names": sorted(engine.model.state_dict()),
        "bytes": engine.num_state_bytes(),
        "num_parameters": models.num_parameters(engine.model),
    }


def agreement(stage: int) -> dict:
    """Train with AdamW, taught inside, with accumulation, with SGD, in bf16, and in part.

    And in a micro-batch that only one rank has, as in an elastic group: the others have fillers.
    """
    share = 8 // dist.get_world_size()
    # With the default epsilon, rounding moves the bias that no loss sees, and so all logits.
    adamw = {"zero_stage": stage, "learning_rate": 1e-3, "adam_epsilon": 1e-6}
    sgd = {"zero_stage": stage, "learning_rate": 0.05, "optimizer": "sgd"}
    engines_of = {
        "adamw": lambda: build(micro_batch=share, **adamw),
        "inner": lambda: build(micro_batch=share, **adamw, **INSIDE),
        "accumulated": lambda: build(micro_batch=share // 2, **adamw),
        "sgd": lambda: build(micro_batch=share, **sgd),
        "bf16": lambda: build(micro_batch=share, precision="bf16", **adamw),
        "frozen": lambda: build(micro_batch=share, new_head=True, **FROZEN, **adamw),
        "filled": lambda: build(micro_batch=8, num_workers=1, **adamw),
    }
    return {name: train_all(engine_of()) for name, engine_of in engines_of.items()}


INSIDE = {"teacher": "any", "hidden_weight": 1.0, "relation_weight": 1.0}
FROZEN = {"freeze_embeddings": True, "new_head_multiplier": 5.0}
RESUMED = {"micro_batch": 2, "dropout": 0.1, "learning_rate": 1e-3, "adam_epsilon": 1e-6} | INSIDE


def checkpoints(folder: Path, stage: int, world_size: int) -> CheckpointStore:
    """Return the checkpoints that a group of this size writes at a stage."""
    return CheckpointStore(str(folder / f"checkpoints-{world_size}-{stage}"))


def scratch(folder: Path, name: str) -> Path:
    """Make a folder of this rank alone."""
    path = folder / f"{name}-world-{dist.get_world_size()}-rank-{dist.get_rank()}"
    path.mkdir()
    return path


def resumption(stage: int, folder: Path) -> dict:
    """Train with dropout; from a checkpoint of the middle, train the second half again."""
    store = checkpoints(folder, stage, dist.get_world_size())
    engine = build(zero_stage=stage, **RESUMED)
    first = losses_of(run(engine, until=6))
    out = scratch(folder, f"out-{stage}")
    engine.save(out)
    store.write(6, out, {}, is_main=dist.get_rank() == 0, gather=gather)
    losses = losses_of(run(engine))
    straight = {"losses": losses, "weights": engine.gather_weights()}
    engine = build(zero_stage=stage, **RESUMED)
    run(engine, until=1)  # what is loaded must replace all of this
    cursor, resumed, weights = resume(engine, store, scratch(folder, f"in-{stage}"))
    return {
        "first": first,
        "straight": straight,
        "cursor": cursor,
        "resumed": {"losses": resumed, "weights": weights},
    }


def resume(engine: Engine, store: CheckpointStore, folder: Path) -> tuple[int, list[float], dict]:
    """Load the newest checkpoint and train to the end; cursor, losses and weights."""
    store.fetch(store.newest_good(), folder)
    engine.load(folder)
    cursor = engine.step_number
    return cursor, losses_of(run(engine)), engine.gather_weights()


def elsewhere(folder: Path) -> dict:
    """Resume what the group of the other size wrote, at the same stages and at others."""
    others = 3 - dist.get_world_size()
    ways = [(stage, stage) for stage in STAGES] + [(1, 3), (3, 0)]
    found = {}
    for written_at, stage in ways:
        engine = build(zero_stage=stage, **RESUMED)
        store = checkpoints(folder, written_at, others)
        mine = scratch(folder, f"from-{written_at}-{stage}")
        found[written_at, stage] = resume(engine, store, mine)[1]
    engine = build(zero_stage=2, precision="bf16", **(RESUMED | {"micro_batch": 4}))
    store = checkpoints(folder, 1, others)
    found["bf16"] = resume(engine, store, scratch(folder, "bf16"))[1]
    return found


def half_saved(folder: Path, stage: int) -> dict:
    """Save where rank 0 cannot write any of its many parts; then train on."""
    engine = build(zero_stage=stage, **RESUMED)
    first = losses_of(run(engine, until=2))
    sizes, state._PART_BYTES, state._HELD_BYTES = (state._PART_BYTES, state._HELD_BYTES), 1, 1
    target = folder / "absent" if dist.get_rank() == 0 else scratch(folder, f"half-{stage}")
    try:
        engine.save(target)
        problem = ""
    except (OSError, SafetensorError) as error:
        problem = str(error)
    state._PART_BYTES, state._HELD_BYTES = sizes
    return {"problem": problem, "losses": first + losses_of(run(engine, until=4))}


def checkpointed() -> list[float]:
    """Train with dropout and recomputed activations."""
    return losses_of(run(build(zero_stage=0, gradient_checkpointing=True, **RESUMED)))


def poison_loss(losses: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Make a loss that is not a number."""
    return losses * float("nan")


def poison_gradient(losses: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Leave the loss as it is, and make its gradient infinite times zero."""
    return losses + (logits.sum() * 0).sqrt()


def skipping(stage: int, poison: Callable) -> dict:
    """Poison one micro-batch of one rank, of the second step."""
    num_calls = 0

    def poisoned(start_logits, end_logits, batch):
        nonlocal num_calls
        num_calls += 1
        losses = window_losses(start_logits, end_logits, batch)
        is_target = dist.get_rank() == dist.get_world_size() - 1 and num_calls == 3
        return poison(losses, start_logits) if is_target else losses

    engine = build(micro_batch=2, zero_stage=stage, learning_rate=1e-3, losses=poisoned)
    run(engine, until=1)  # two micro-batches
    before = engine.gather_weights()
    (result,) = run(engine, until=2)
    after = engine.gather_weights()
    rest = run(engine, until=4)
    return {
        "skipped": [result.skipped, *(step.skipped for step in rest)],
        "loss": result.loss,
        "later_losses": losses_of(rest),
        "num_skipped": engine.num_skipped,
        "step_number": engine.step_number,
        "before": before,
        "after": after,
        "later": engine.gather_weights(),
    }


def main(rank: int, world_size: int, folder: Path) -> None:
    """Run every scenario and save the results."""
    store = dist.FileStore(f"{folder}/group-{world_size}", world_size)
    join_group("cpu", 1, rank=rank, world_size=world_size, store=store)
    stages = STAGES if world_size > 1 else (0,)
    results: dict = {"agreement": {stage: agreement(stage) for stage in stages}}
    results["resumption"] = {stage: resumption(stage, folder) for stage in STAGES}
    both = dist.FileStore(f"{folder}/both", -1)
    both.set(f"checkpoints-{world_size}-{rank}", "written")
    if world_size > 1:
        results["half_saved"] = {stage: half_saved(folder, stage) for stage in (2, 3)}
        results["skipping"] = {
            (stage, name): skipping(stage, poison)
            for stage in STAGES
            for name, poison in (("loss", poison_loss), ("gradient", poison_gradient))
        }
    else:
        results["checkpointed"] = checkpointed()
    both.wait([f"checkpoints-{3 - world_size}-0"], timedelta(seconds=120))
    results["elsewhere"] = elsewhere(folder)
    torch.save(results, folder / f"world-{world_size}-rank-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
