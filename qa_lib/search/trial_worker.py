"""Where trials of one device run: surgery, the training job's own step, and the F1 after it.

An actor keeps one bench for all of its trials, so a new trial costs no start of a process, no
loading of libraries, parent or windows.
"""

from __future__ import annotations

import gc
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import filterwarnings

import numpy as np
import pyarrow as pa

from qa_lib import adjust, evaluation, models, training
from qa_lib.adjust import Plan, Sizes
from qa_lib.adjust.calibrate import Batch
from qa_lib.config import Settings
from qa_lib.data import Questions
from qa_lib.machines import devices
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.run_folder import PLAN, RunFolder
from qa_lib.search.halving import Job, Outcome
from qa_lib.search.space import Setting
from qa_lib.training import dataset
from qa_lib.training.dataset import WindowSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class TrialTask:
    """What all trials of a search share.

    Attributes:
        settings: `model.name` and `train.teacher` are the parent.
        run_path: The run folder, path or URL; a trial leaves its plan and its checkpoint there.
        parent_sha256: Fingerprint of the parent.
        budgets: Optimizer steps taken after each rung, 0 first.
        device: cpu or cuda.
        num_threads: Of torch in each trial, on a CPU; no more than its node has cores.
        calibration: Windows that units are scored on.
        questions: To train on.
        train_windows: Theirs, with the parent's logits.
        held_out: Questions of articles that neither parent nor trials train on.
        held_out_windows: Theirs, with the offsets that decoding needs.
    """

    settings: Settings
    run_path: str
    parent_sha256: str
    budgets: list[int]
    device: str
    num_threads: int
    calibration: list[Batch]
    questions: Questions
    train_windows: WindowSet
    held_out: Questions
    held_out_windows: WindowSet

    def folder(self, number: int) -> RunFolder:
        """Return the folder of a trial: a training run's, where it trains in a group."""
        return RunFolder(f"{self.run_path}/trials/{number:03d}", "train")

    def settings_of(self, setting: Setting) -> Settings:
        """Return the settings that a trial trains with: a plan that ends at the highest rung."""
        steps_per_epoch = -(-self.train_windows.num_windows // self.settings.train.global_batch)
        train_settings = self.settings.train.model_copy(
            update={
                "learning_rate": setting.learning_rate,
                "distill_weight": setting.distill_weight,
                "max_steps": self.budgets[-1],
                "epochs": math.ceil(self.budgets[-1] / steps_per_epoch),
            }
        )
        return self.settings.model_copy(update={"train": train_settings})

    def outcome(self, rung: int, f1: float, started_s: float) -> Outcome:
        """Return what a rung gave, from the moment (`time.monotonic`) at which it began."""
        num_windows = self.budgets[rung] * self.settings.train.global_batch
        return Outcome(round(f1, 4), num_windows, round(time.monotonic() - started_s, 3))


def cut(task: TrialTask, parent: PreTrainedModel, number: int, setting: Setting) -> PreTrainedModel:
    """Return a trial's model right after surgery; its plan is made once and kept in its folder."""
    if setting.sizes == Sizes.of(parent.config):
        return parent
    folder = task.folder(number)
    if folder.exists(PLAN):
        return adjust.apply(parent, Plan.read(folder))
    plan = adjust.make_plan(
        parent,
        setting.sizes,
        task.calibration,
        task.settings.adjust.model_copy(update={"importance": setting.importance}),
        parent_sha256=task.parent_sha256,
        seed=task.settings.seed,
    )
    plan.write(folder)
    return adjust.apply(parent, plan)


class Bench:
    """One device with the parent, the windows and a process group of its own."""

    def __init__(self, task: TrialTask) -> None:
        """Set the process up, and load what all trials share."""
        import ray
        import torch

        from qa_lib.models.inference import Forward

        self._task = task
        _prepare_process(task)
        settings = task.settings
        self._device = torch.device(task.device)
        dropout = settings.train.dropout
        self._parent = models.load(settings.model.name, seed=settings.seed, dropout=dropout)
        self._parent.to(self._device)  # type: ignore[arg-type]
        self._forward = Forward(
            settings.model.name,
            precision=settings.train.precision,
            device=task.device,
            batch_size=settings.evaluate.batch_size,
            num_threads=_num_threads(task),
        )
        self._blocks = ray.get(task.train_windows.blocks)
        self._held_out = pa.concat_tables(ray.get(task.held_out_windows.blocks))
        self._contexts = task.held_out.table["context"].to_pylist()

    def run(self, job: Job, setting: Setting) -> Outcome:
        """Run one rung of a trial."""
        started_s = time.monotonic()
        model = cut(self._task, self._parent, job.number, setting)
        if job.rung > 0:
            model = self._train(model, job, setting)
        outcome = self._task.outcome(job.rung, self._score(model), started_s)
        del model
        gc.collect()  # an engine and its model hold each other
        return outcome

    def _train(self, model: PreTrainedModel, job: Job, setting: Setting) -> PreTrainedModel:
        """Continue the trial's training to the budget of its rung."""
        import torch

        from qa_lib.training.engine import Engine
        from qa_lib.training.worker import losses_of

        task = self._task
        settings = task.settings_of(setting)
        torch.manual_seed(settings.seed * 65_536)  # as the training job's rank 0
        plan = training.plan_of(settings, task.train_windows.lengths)
        # One rank has nothing to partition.
        alone = settings.train.model_copy(update={"zero_stage": 0, "offload_optimizer": False})
        engine = Engine(
            model,
            alone,
            precision=devices.resolve_precision(settings.train.precision, task.device),
            device=self._device,
            num_steps=plan.num_steps,
            micro_batch=training.micro_batch_of(settings),
            losses=losses_of(settings),
        )
        store = CheckpointStore(task.folder(job.number).url("checkpoints"))
        with tempfile.TemporaryDirectory(prefix="qa-trial-") as folder:
            if job.rung > 1:
                found = store.newest_good()
                assert found is not None, f"trial {job.number} has lost its checkpoint"
                store.fetch(found, Path(folder))
                engine.load(Path(folder))
        for step in range(engine.step_number, task.budgets[job.rung]):
            engine.step(self._micro_batches(settings, plan, step), num_real=len(plan.batch(step)))
        if job.rung < len(task.budgets) - 1:
            with tempfile.TemporaryDirectory(prefix="qa-trial-") as folder:
                engine.save(Path(folder))
                store.write(
                    engine.step_number,
                    Path(folder),
                    {},
                    is_main=True,
                    gather=lambda value: [value],
                    keep=1,
                )
        return engine.model.eval()

    def _micro_batches(self, settings: Settings, plan: Any, step: int) -> list[Any]:
        from qa_lib.training.worker import weighted_batch

        size = training.micro_batch_of(settings)
        indices, weights = plan.share(step, 0, 1, size)
        table = dataset.take(self._blocks, self._task.train_windows.starts, indices)
        table = table.append_column("weight", pa.array(weights))
        return [
            weighted_batch(table.slice(first, size), self._forward.pad)
            for first in range(0, len(indices), size)
        ]

    def _score(self, model: PreTrainedModel) -> float:
        """Return the F1 on the held-out questions."""
        task = self._task
        self._forward.model = model.to(self._device)  # type: ignore[arg-type]
        rules = task.settings.evaluate
        found = pa.concat_tables(evaluation.find_spans(self._forward, self._held_out, rules))
        answers = evaluation.merge(found, task.held_out, rules).table(self._contexts)
        ids = task.held_out.table["id"].to_pylist()
        predictions = dict(zip(ids, answers["answer"].to_pylist(), strict=True))
        return float(evaluation.score(task.held_out, predictions)["f1"])


def _prepare_process(task: TrialTask) -> None:
    """Give the process threads, DeepSpeed's device, and a group of one."""
    import torch.distributed as dist

    os.environ |= {"DS_ACCELERATOR": task.device, "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}
    # DeepSpeed calls collectives that torch renames: a line for each parameter and step.
    filterwarnings("ignore", "`torch.distributed.* is deprecated", FutureWarning)
    devices.set_up_cpu(_num_threads(task))
    np.random.seed(task.settings.seed)  # noqa: NPY002 - libraries draw from the global state
    dist.init_process_group(
        "nccl" if task.device == "cuda" else "gloo", store=dist.HashStore(), rank=0, world_size=1
    )


def _num_threads(task: TrialTask) -> int:
    return min(task.num_threads, devices.num_local_cpus())
