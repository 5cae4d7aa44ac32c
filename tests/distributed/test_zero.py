"""ZeRO 0 to 3 over two real processes compute what one worker does, with less memory per rank."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qa_lib.config import TrainSettings
from qa_lib.machines.memory import memory_per_rank
from tests.support.zero_rank import tiny_bert

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = (0, 1, 2, 3)
TIMEOUT_S = 280


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zero")


@pytest.fixture(scope="module")
def ranks(folder):
    """Run every scenario in a group of one and in a group of two, side by side."""
    script = REPOSITORY / "tests/support/zero_rank.py"
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONWARNINGS": "ignore",
        "TORCH_EXTENSIONS_DIR": str(folder / "extensions"),
    }
    members = [(1, 0), (2, 0), (2, 1)]
    logs = [folder / f"log-{world_size}-{rank}" for world_size, rank in members]
    processes = []
    for (world_size, rank), log in zip(members, logs, strict=True):
        command = [sys.executable, str(script), str(rank), str(world_size), str(folder)]
        with log.open("w") as output:
            processes.append(
                subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            )
    try:
        for process, log in zip(processes, logs, strict=True):
            assert process.wait(TIMEOUT_S) == 0, log.read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {
        member: torch.load(folder / f"world-{member[0]}-rank-{member[1]}.pt", weights_only=False)
        for member in members
    }


@pytest.fixture(scope="module")
def one(ranks):
    """Results of one worker without ZeRO, by scenario."""
    return ranks[1, 0]["agreement"][0]


@pytest.fixture(scope="module")
def two(ranks):
    """Results of two workers, by stage and scenario, as rank 0 has them."""
    return ranks[2, 0]["agreement"]


def test_nothing_is_compiled(ranks, folder):
    assert not (folder / "extensions").exists()


def largest_difference(weights, others):
    assert weights.keys() == others.keys()
    return max((weights[name] - others[name]).abs().max().item() for name in weights)


@pytest.mark.parametrize("stage", STAGES)
def test_the_engine_is_deepspeeds_at_the_requested_stage(two, stage):
    for result in two[stage].values():
        assert result["is_deepspeed"] == "deepspeed.runtime.engine.DeepSpeedEngine"
        assert result["stage"] == stage


@pytest.mark.parametrize("scenario", ["adamw", "accumulated", "filled", "inner"])
@pytest.mark.parametrize("stage", STAGES)
def test_two_workers_lose_what_one_loses(one, two, stage, scenario):
    found, expected = two[stage][scenario], one["inner" if scenario == "inner" else "adamw"]
    assert len(found["losses"]) == 12
    assert found["losses"] == pytest.approx(expected["losses"], abs=1e-4)
    assert found["losses"][-1] != found["losses"][0]
    assert (found["logits"] - expected["logits"]).abs().max() < 1e-4


@pytest.mark.parametrize("stage", STAGES)
def test_frozen_embeddings_stay_and_a_new_head_learns_faster(one, two, stage):
    found, whole = two[stage]["frozen"], one["adamw"]
    assert found["losses"] == pytest.approx(one["frozen"]["losses"], abs=1e-4)
    assert found["losses"] != pytest.approx(whole["losses"], abs=1e-3)
    drawn = tiny_bert(num_layers=1).state_dict()
    moved = {name: (found["weights"][name] - drawn[name]).abs().max() for name in drawn}
    assert moved.pop("bert.embeddings.word_embeddings.weight") == 0
    assert min(moved.values()) > 0
    before = (whole["weights"]["qa_outputs.weight"] - drawn["qa_outputs.weight"]).abs().mean()
    after = (found["weights"]["qa_outputs.weight"] - drawn["qa_outputs.weight"]).abs().mean()
    assert after > 2 * before


@pytest.mark.parametrize("stage", STAGES)
def test_two_workers_have_the_weights_of_one_under_sgd(one, two, stage):
    found, expected = two[stage]["sgd"], one["sgd"]
    assert largest_difference(found["weights"], expected["weights"]) < 1e-5
    assert (found["logits"] - expected["logits"]).abs().max() < 1e-4
    assert largest_difference(found["weights"], one["adamw"]["weights"]) > 1e-3  # they did change


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_keeps_full_precision_weights(one, two, stage):
    found = two[stage]["bf16"]
    assert all(weight.dtype == torch.float32 for weight in found["weights"].values())
    assert found["losses"] == pytest.approx(one["adamw"]["losses"], abs=5e-3)
    assert found["losses"] != pytest.approx(one["adamw"]["losses"], abs=1e-6)  # bf16 was used


@pytest.mark.parametrize("stage", STAGES)
def test_gathered_weights_are_a_whole_checkpoint(two, ranks, stage):
    result = two[stage]["sgd"]
    assert sorted(result["weights"]) == result["names"]
    # Stages differ in where weights lie, not in their values.
    assert largest_difference(result["weights"], two[0]["sgd"]["weights"]) < 1e-6
    assert ranks[2, 1]["agreement"][stage]["sgd"]["weights"] == {}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("scenario", ["accumulated", "sgd"])
@pytest.mark.parametrize("stage", STAGES)
def test_bytes_per_rank_are_those_predicted(ranks, stage, scenario, rank):
    result = ranks[2, rank]["agreement"][stage][scenario]
    train = TrainSettings(
        num_workers=2, zero_stage=stage, optimizer="sgd" if scenario == "sgd" else "adamw"
    )
    predicted = memory_per_rank(result["num_parameters"], train, "fp32", 2)
    if stage == 1 and scenario == "sgd":
        # Without accumulation DeepSpeed drops what is another rank's during the backward pass.
        predicted["gradients"] //= 2
    # Adam's step counters and the tensors on the border between two ranks come on top.
    assert result["bytes"] == pytest.approx(predicted, rel=0.1)


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_run_ends_bit_for_bit_where_the_straight_one_does(ranks, stage, world_size):
    for rank in range(world_size):
        result = ranks[world_size, rank]["resumption"][stage]
        assert result["cursor"] == 6
        assert result["resumed"]["losses"] == result["straight"]["losses"]
    weights, resumed = (
        ranks[world_size, 0]["resumption"][stage][x]["weights"] for x in ("straight", "resumed")
    )
    assert largest_difference(resumed, weights) == 0


@pytest.fixture(scope="module")
def with_dropout(ranks):
    """Losses of one worker without ZeRO, before and after the checkpoint."""
    result = ranks[1, 0]["resumption"][0]
    return result["first"], result["straight"]["losses"]


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_dropout_knows_neither_rank_nor_stage(ranks, with_dropout, stage, world_size):
    result = ranks[world_size, 0]["resumption"][stage]
    assert result["first"] == pytest.approx(with_dropout[0], rel=1e-5)
    assert result["straight"]["losses"] == pytest.approx(with_dropout[1], rel=1e-5)


def test_inner_states_add_to_the_loss(one):
    taught, plain = (one[name]["losses"] for name in ("inner", "adamw"))
    assert all(more > less + 0.1 for more, less in zip(taught[:6], plain[:6], strict=True))


def test_dropout_is_on_and_recomputed_activations_repeat_it(ranks, one, with_dropout):
    first, then = with_dropout
    assert first != pytest.approx(one["inner"]["losses"][:6], rel=1e-3)
    assert ranks[1, 0]["checkpointed"] == pytest.approx(first + then, rel=1e-5)


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize(("written_at", "stage"), [(s, s) for s in STAGES] + [(1, 3), (3, 0)])
def test_another_group_goes_on_with_the_same_losses(
    ranks, with_dropout, written_at, stage, world_size
):
    losses = ranks[world_size, 0]["elsewhere"][written_at, stage]
    assert losses == pytest.approx(with_dropout[1], rel=1e-5)


@pytest.mark.parametrize("world_size", [1, 2])
def test_another_precision_and_micro_batch_go_on(ranks, with_dropout, world_size):
    losses = ranks[world_size, 0]["elsewhere"]["bf16"]
    assert losses == pytest.approx(with_dropout[1], rel=0.05)
    assert losses != pytest.approx(with_dropout[1], rel=1e-5)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_rank_that_cannot_write_holds_up_no_other(ranks, with_dropout, stage):
    first, second = (ranks[2, rank]["half_saved"][stage] for rank in (0, 1))
    assert "No such file" in first["problem"] and second["problem"] == ""
    assert first["losses"] == second["losses"] == pytest.approx(with_dropout[0][:4], rel=1e-5)


@pytest.mark.parametrize("poisoned", ["loss", "gradient"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_that_is_not_finite_moves_nothing(ranks, stage, poisoned):
    for rank in (0, 1):
        result = ranks[2, rank]["skipping"][stage, poisoned]
        assert result["skipped"] == [True, False, False]
        assert result["num_skipped"] == 1
        assert result["step_number"] == 4  # the data move on
        assert (result["loss"] != result["loss"]) == (poisoned == "loss")
    result = ranks[2, 0]["skipping"][stage, poisoned]
    assert largest_difference(result["after"], result["before"]) == 0
    assert largest_difference(result["later"], result["after"]) > 0
    assert all(weight.isfinite().all() for weight in result["later"].values())
