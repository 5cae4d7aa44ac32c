"""Checkpoints of training: what may change on resume, and files that are never opened."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForQuestionAnswering

from qa_lib import config, models
from qa_lib.config import Settings, TrainSettings
from qa_lib.errors import CheckpointError
from qa_lib.machines import devices
from qa_lib.models.kernels import Kernels
from qa_lib.runs import manifest
from qa_lib.runs.checkpoints import Checkpoint, CheckpointStore
from qa_lib.runs.folder import Folder
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import checkpoints_of, state
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.driver import check_resumable
from qa_lib.training.ledger import read_ledger
from qa_lib.training.rank_checkpoint import RankCheckpoint, find_checkpoint, kernels_of
from qa_lib.training.task import MAY_CHANGE, STATE, TrainTask, changeable_of, identity_of

if TYPE_CHECKING:
    from qa_lib.training.engine import Engine, StepResult

GUIDE = Path(__file__).resolve().parents[3] / "docs/guide/train.md"
PLAN = BatchPlan(np.full(8, 5, np.int32), global_batch=4, num_epochs=1, seed=0)


class Planted:
    """Creates a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def settings_of(*flags: str) -> Settings:
    return config.parse("train", ["--train.zero-stage", "1", "--train.micro-batch", "2", *flags])


def written(run: RunFolder, files: Path, settings: Settings) -> None:
    """Store a checkpoint as rank 0 of a group of one."""
    meta = {
        "settings": identity_of(settings),
        "changeable": changeable_of(settings),
        "plan": PLAN.fingerprint,
    }
    store = CheckpointStore(checkpoints_of(run.path))
    assert store.write(1, files, meta, is_main=True, gather=lambda value: [value])


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"), "train")


@pytest.fixture
def files(tmp_path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / STATE).write_text("{}")
    return folder


def test_every_setting_may_change_or_is_part_of_the_run():
    settings = settings_of()
    flags = {f"--train.{name.replace('_', '-')}" for name in TrainSettings.model_fields}
    stays, changes = identity_of(settings), changeable_of(settings)
    assert MAY_CHANGE.keys() <= TrainSettings.model_fields.keys()
    assert not stays.keys() & changes.keys()
    assert stays.keys() | changes.keys() == flags | {"--model.name", "--seed"}


def test_the_guide_says_what_may_change_on_resume():
    rows = dict(re.findall(r"^\| `--train\.([a-z-]+)` \| (.*) \|$", GUIDE.read_text(), re.M))
    assert rows == {name.replace("_", "-"): effect for name, effect in MAY_CHANGE.items()}
    stays = identity_of(settings_of())
    for flag in stays:
        assert f"`{flag}`" in GUIDE.read_text(), flag


def test_what_changes_is_said_with_its_effect(run, files, capsys):
    written(run, files, settings_of("--train.num-workers", "2", "--train.precision", "fp32"))
    check_resumable(
        settings_of("--train.zero-stage", "3", "--train.precision", "bf16"), run, PLAN, {}
    )
    said = capsys.readouterr().err
    assert "resuming with --train.num-workers 1, not 2: losses agree to rounding" in said
    assert "resuming with --train.zero-stage 3, not 1" in said
    assert "resuming with --train.precision bf16, not fp32: losses differ" in said
    assert said.count("resuming with") == 3
    with pytest.raises(CheckpointError, match="was written with --train.learning-rate"):
        check_resumable(settings_of("--train.learning-rate", "1e-3"), run, PLAN, {})


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_again(run, files):
    check_resumable(settings_of(), run, PLAN, {})  # none was written yet
    (Path(run.path) / "checkpoints/step-000000009").mkdir(parents=True)
    check_resumable(settings_of(), run, PLAN, {})  # nor completed
    written(run, files, settings_of())
    run.write_text(f"checkpoints/step-000000001/{STATE}", "damage")
    with pytest.raises(CheckpointError, match="are damaged"):
        check_resumable(settings_of(), run, PLAN, {})


def test_a_checkpoint_of_pickles_is_refused_and_not_opened(run, files, tmp_path):
    proof = tmp_path / "proof"
    (files / STATE).unlink()
    (files / "deepspeed").mkdir()
    for name in ("rank-00000.pt", "deepspeed/mp_rank_00_model_states.pt"):
        (files / name).write_bytes(pickle.dumps(Planted(proof)))
    written(run, files, settings_of())
    with pytest.raises(CheckpointError, match="an earlier version") as caught:
        check_resumable(settings_of(), run, PLAN, {})
    assert "start a new run" in str(caught.value.remedy)
    assert not proof.exists()
    pickle.loads((files / "rank-00000.pt").read_bytes())
    assert proof.exists()  # the trap works


def test_files_that_no_manifest_lists_are_not_even_fetched(run, files, tmp_path):
    written(run, files, settings_of())
    store = CheckpointStore(checkpoints_of(run.path))
    found = store.newest_good()
    for name in ("rank-00000.pt", "state-99999-0000.safetensors"):
        (Path(found.directory) / name).write_bytes(pickle.dumps(Planted(tmp_path / "proof")))
    store.fetch(store.newest_good(), tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").iterdir()] == [STATE]


def step(engine: Engine) -> StepResult:
    """Take a step on two windows."""
    tokens, positions = torch.ones(2, 4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    batch = {"input_ids": tokens, "attention_mask": tokens}
    batch |= {"start_positions": positions, "end_positions": positions}
    return engine.step([(batch, torch.ones(2))], num_windows=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a tiny model for a step in a group of one; its state in a folder, and an engine."""
    import torch.distributed as dist

    from qa_lib.training.engine import Engine
    from qa_lib.training.group import join_group

    join_group("cpu", 1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    model = BertForQuestionAnswering(BertConfig(vocab_size=20, num_attention_heads=2, **sizes))
    engine = Engine(
        model,
        TrainSettings(zero_stage=0, global_batch=2),
        precision="fp32",
        device=torch.device("cpu"),
        num_steps=4,
        micro_batch=2,
    )
    step(engine)
    folder = tmp_path_factory.mktemp("state")
    engine.save(folder)
    yield engine, folder
    dist.destroy_process_group()


def test_the_state_is_every_weight_and_its_moments_by_name(trained):
    engine, folder = trained
    tensors = load_file(folder / "state-00000-0000.safetensors")
    names = [name for name, _ in engine.model.named_parameters()]
    assert tensors.keys() == {
        f"{key}/{name}" for name in names for key in ("weight", "exp_avg", "exp_avg_sq")
    }
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    fields = json.loads((folder / STATE).read_text())
    assert (fields["step"], fields["optimizer_step"], fields["num_skipped"]) == (1, 1, 0)


def test_a_state_larger_than_what_a_rank_holds_is_written_in_parts(trained, tmp_path, monkeypatch):
    engine, folder = trained
    monkeypatch.setattr(state, "_PART_BYTES", 2000)
    monkeypatch.setattr(state, "_HELD_BYTES", 4000)
    write = engine.copy_state(tmp_path)
    early = list(tmp_path.glob("state-*.safetensors"))
    write()
    parts = [load_file(path) for path in sorted(tmp_path.glob("state-*.safetensors"))]
    assert 1 < len(early) < len(parts)
    assert sum(map(len, parts)) == len(dict(pair for part in parts for pair in part.items()))
    whole = load_file(folder / "state-00000-0000.safetensors")
    for name, tensor in (pair for part in parts for pair in part.items()):
        assert torch.equal(tensor, whole.pop(name))
    assert not whole


def test_training_goes_on_while_a_checkpoint_is_stored(trained, tmp_path):
    """It counts once it is stored, and holds the state of the step that it was begun at."""
    engine, _ = trained
    task = TrainTask(settings_of(), str(tmp_path), PLAN, None, 2, "cpu", None, 2, {})
    saved = RankCheckpoint(task, engine, 0, Kernels("fp32"))
    gate, before = threading.Event(), engine.gather_weights()
    saved._thread.submit(gate.wait)  # storage that answers late
    saved.begin([])
    assert (saved.begun_step, step(engine).writing) == (1, True)
    assert find_checkpoint(task, 0) is None
    gate.set()
    saved.finish()
    assert (saved.begun_step, saved.problem, step(engine).writing) == (None, "", False)
    assert not all(torch.equal(engine.gather_weights()[name], before[name]) for name in before)
    saved.restore(find_checkpoint(task, 0))
    assert engine.step_number == 1
    assert all(torch.equal(engine.gather_weights()[name], before[name]) for name in before)


@pytest.mark.parametrize("damage", ["pickle for state", "pickle for tensors", "other shape"])
def test_a_planted_or_foreign_file_of_ours_runs_no_code(trained, tmp_path, damage):
    engine, folder = trained
    proof = tmp_path / "proof"
    tensors = load_file(folder / "state-00000-0000.safetensors")
    (tmp_path / STATE).write_bytes((folder / STATE).read_bytes())
    part = tmp_path / "state-00000-0000.safetensors"
    if damage == "other shape":
        save_file({name: tensor[None] for name, tensor in tensors.items()}, part)
    else:
        save_file(tensors, part)
        target = tmp_path / STATE if "state" in damage else part
        target.write_bytes(pickle.dumps(Planted(proof)))
    with pytest.raises(CheckpointError):
        engine.load(tmp_path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], ("bf16", "batched")),
        (["--train.num-workers", "2"], ("bf16", "batched")),
        (["--train.precision", "fp32"], None),
        (["--train.attention", "sdpa"], None),
    ],
)
def test_a_restart_keeps_the_kernels_of_its_checkpoint_where_it_may(
    trained, tmp_path, flags, expected
):
    engine, _ = trained
    auto = ["--train.precision", "auto", "--train.attention", "auto"]
    settings = settings_of(*auto, *flags)
    task = TrainTask(settings, str(tmp_path), PLAN, None, 2, "cpu", None, 2, {})
    assert kernels_of(find_checkpoint(task, 0), task) is None
    saved = RankCheckpoint(task, engine, 0, Kernels("bf16", "mkl", "batched"))
    saved.save([])
    assert saved.problem == ""
    found = find_checkpoint(task, 0)
    kernels = kernels_of(found, task)
    assert (kernels and (kernels.precision, kernels.attention)) == expected
    RankCheckpoint(task, engine, 0, Kernels("fp32")).restore(found)
    assert engine.step_number == 1


def test_a_checkpoint_that_could_not_be_made_at_its_step_is_due_at_the_next(trained, tmp_path):
    engine, _ = trained  # after a step
    settings = settings_of("--train.checkpoint-every-steps", "4")
    task = TrainTask(settings, str(tmp_path), PLAN, None, 2, "cpu", None, 2, {})
    saved = RankCheckpoint(task, engine, 0, Kernels("fp32"))
    assert [step for step in range(1, 7) if saved.is_due(step)] == [4, 5, 6]
    saved.save([])
    every_step = settings_of("--train.checkpoint-every-steps", "1")
    task = TrainTask(every_step, str(tmp_path), PLAN, None, 2, "cpu", None, 2, {})
    again = RankCheckpoint(task, engine, 0, Kernels("fp32"))
    assert again.is_due(1)
    again.restore(find_checkpoint(task, 0))
    assert not again.is_due(1) and again.is_due(2)


@pytest.mark.parametrize("can", [True, False])
@pytest.mark.parametrize(
    ("device", "noted", "function", "answers"),
    [
        ("cpu", Kernels("fp32", "onednn", "sdpa"), "onednn_is_exact", (True, False)),
        ("cuda", Kernels("bf16", "mkl", "sdpa"), "resolve_precision", ("bf16", "fp16")),
    ],
)
def test_a_restart_on_hardware_that_lacks_the_arithmetic_chooses_anew(
    monkeypatch, tmp_path, device, noted, function, answers, can
):
    task = TrainTask(settings_of(), str(tmp_path), PLAN, None, 2, device, None, 2, {})
    facts = noted.facts() | {"device": device}
    found = Checkpoint(1, "step-1", {"kernels": facts}, ())
    monkeypatch.setattr(devices, function, lambda *_: answers[0] if can else answers[1])
    kept = kernels_of(found, task)
    assert (kept is not None) == can


def readers(run: RunFolder, task: TrainTask, engine) -> list:
    """Return everything that a resumed run and a later job read of a run folder."""
    saved = RankCheckpoint(task, engine, 0, Kernels("fp32"))
    return [
        lambda: check_resumable(task.settings, run, PLAN, {}),
        lambda: saved.restore(find_checkpoint(task, 0)),
        lambda: read_ledger(run),
        run.read_metrics,
        run.read_result,
        lambda: Settings.from_yaml(run.read_text("config.yaml")),
        lambda: models.load(run.url("model"), seed=0),
    ]


def test_no_code_runs_whatever_file_of_a_run_folder_is_a_pickle(trained, run, tmp_path):
    """Hashes match: who can write the folder can write its manifests as well."""
    engine, _ = trained
    settings = settings_of()
    task = TrainTask(settings, run.path, PLAN, None, 2, "cpu", None, 2, {})
    run.write_config(settings)
    run.write_json("result.json", {"job": "train", "status": "done"})
    run.append_metrics({"step": 1, "loss": 1.0})
    run.flush_metrics()
    saved = RankCheckpoint(task, engine, 0, Kernels("fp32"))
    saved.save([])
    saved.write_ledger()
    engine.model.save_pretrained(run.url("model"))
    proof = tmp_path / "proof"
    trap = pickle.dumps(Planted(proof))
    for read in readers(run, task, engine):
        read()  # what fails below fails because of the trap

    whole = Path(shutil.copytree(run.path, tmp_path / "whole"))
    names = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
    assert {name.name for name in names} >= {STATE, "manifest.json", "model.safetensors"}
    for name in [*names, Path("model/pytorch_model.bin"), Path("rank-00000.pt")]:
        shutil.rmtree(run.path)
        path = Path(shutil.copytree(whole, run.path)) / name
        path.write_bytes(trap)
        if (path.parent / "manifest.json").exists() and path.name != "manifest.json":
            folder = Folder(str(path.parent))
            listed = manifest.read(folder)
            files = [folder.put_file(path.parent / file.name, file.name) for file in listed.files]
            manifest.write(folder, files, **listed.fields)
        for read in readers(run, task, engine):
            with suppress(Exception):
                read()
        assert not proof.exists(), path
    pickle.loads(trap)
    assert proof.exists()  # the trap works
