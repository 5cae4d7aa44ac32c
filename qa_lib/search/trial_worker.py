"""Trials on one device: surgery, steps of the training loop, and the F1 after them.

An actor keeps one worker for all of its trials, so a new trial starts no process and loads no
library, parent or windows.
"""

from __future__ import annotations

import gc
import math
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib import adjust, evaluation, models, training
from qa_lib.adjust import Plan, SharedCalibration, Sizes
from qa_lib.adjust.calibrate import Batch
from qa_lib.config import AdjustSettings, ImportanceMethod, Settings
from qa_lib.data import Questions
from qa_lib.machines import devices
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.result import Scored
from qa_lib.runs.run_folder import PLAN, RunFolder
from qa_lib.search.halving import Job, Outcome
from qa_lib.search.space import Setting
from qa_lib.training import dataset
from qa_lib.training.dataset import WindowSet
from qa_lib.training.micro_batch import unmeasured_micro_batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class TrialTask:
    """What all trials of a search share.

    Attributes:
        settings: `model.name` and `train.teacher` are the parent.
        run_path: The run folder, path or URL; a trial writes its plan and checkpoint there.
        parent_sha256: Fingerprint of the parent.
        budgets: Optimizer steps at the end of each rung; the first is 0.
        device: cpu or cuda.
        num_threads: Of torch in each trial, at most the cores of its node.
        calibration: Windows that units are scored on.
        questions: To train on.
        train_windows: Their windows, with the parent's logits.
        held_out: Questions of articles that neither parent nor trials train on.
        held_out_windows: Their windows, with the offsets that decoding needs.
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
        """Return the folder of a trial; it is a training run's if the trial trains in a group."""
        return RunFolder(storage.join(self.run_path, "trials", f"{number:03d}"), "train")

    def settings_of(self, setting: Setting) -> Settings:
        """Return a trial's settings: its batch plan ends at the highest rung."""
        steps_per_epoch = -(-self.train_windows.num_windows // self.settings.train.global_batch)
        train_settings = self.settings.train.model_copy(
            update={
                "learning_rate": setting.learning_rate,
                "distill_weight": setting.distill_weight,
                "hidden_weight": 0.0,  # the chosen model's recovery alone is taught inside
                "relation_weight": 0.0,
                "teacher_only_source": None,
                "teacher_only_limit": None,
                "max_steps": self.budgets[-1],
                "epochs": math.ceil(self.budgets[-1] / steps_per_epoch),
            }
        )
        return self.settings.model_copy(update={"train": train_settings})

    def adjust_settings(self, importance: ImportanceMethod) -> AdjustSettings:
        """Return the settings of a trial's cut."""
        return self.settings.adjust.model_copy(update={"importance": importance})

    def outcome(self, rung: int, scores: Scored, started_s: float) -> Outcome:
        """Return the outcome of a rung that began at `started_s` (`time.monotonic`).

        Its F1 is that of the language's own rules where `evaluate.language` has such.
        """
        fields = scores.fields()
        f1 = float(fields.get("language_f1", fields["f1"]))
        num_windows = self.budgets[rung] * self.settings.train.global_batch
        return Outcome(round(f1, 4), num_windows, round(time.monotonic() - started_s, 3))


def cut(
    task: TrialTask,
    parent: PreTrainedModel,
    number: int,
    setting: Setting,
    shared: dict[ImportanceMethod, SharedCalibration],
) -> PreTrainedModel:
    """Return a trial's model right after surgery; its plan is made once and kept in its folder.

    Enumerated sizes are cut as they were scored, from calibration that trials share; `shared` keeps
    it.
    """
    if setting.sizes == Sizes.of(parent.config):
        return parent
    folder = task.folder(number)
    if folder.exists(PLAN):
        return adjust.apply(parent, Plan.read(folder))
    plan = make_plan(task, parent, setting, shared)
    plan.write(folder)
    return adjust.apply(parent, plan)


def make_plan(
    task: TrialTask,
    parent: PreTrainedModel,
    setting: Setting,
    shared: dict[ImportanceMethod, SharedCalibration],
) -> Plan:
    """Make the plan of a setting; arguments as of `cut`."""
    how, seed = setting.importance, task.settings.seed
    wish, sha256 = task.adjust_settings(how), task.parent_sha256
    if task.settings.search.searcher != "one-shot":
        return adjust.make_plan(
            parent, setting.sizes, task.calibration, wish, parent_sha256=sha256, seed=seed
        )
    if how not in shared:
        shared[how] = SharedCalibration(
            parent, task.calibration, wish, parent_sha256=sha256, seed=seed
        )
    return shared[how].plan(setting.sizes)


class TrialWorker:
    """A process with one device, the parent, the windows, and a process group of one."""

    def __init__(self, task: TrialTask) -> None:
        """Prepare the process, and load what all trials share."""
        import ray
        import torch

        from qa_lib.models.inference import Forward
        from qa_lib.models.kernels import Workload, choose
        from qa_lib.training.group import join_group

        self._task = task
        settings = task.settings
        num_threads = min(task.num_threads, devices.num_local_cpus())
        join_group(task.device, num_threads)
        np.random.seed(settings.seed)  # noqa: NPY002 - libraries draw from the global state
        self._device = torch.device(task.device)
        dropout = settings.train.dropout
        self._parent = models.load(settings.model.name, seed=settings.seed, dropout=dropout)
        self._parent.to(self._device)  # type: ignore[arg-type]
        # The parent's kernels are those of its trials: all answer alike, and none waits.
        self._kernels = choose(
            self._parent.config,
            Workload(
                unmeasured_micro_batch(settings),
                int(task.train_windows.lengths.mean()),
                trains=True,
            ),
            device=task.device,
            precision=settings.train.precision,
            kernel=settings.train.attention,
        )
        self._forward = Forward(
            settings.model.name,
            precision=settings.train.precision,
            device=task.device,
            batch_size=settings.evaluate.batch_size,
            num_threads=num_threads,
            attention=settings.train.attention,
            num_tokens=int(task.held_out_windows.lengths.mean()),
        )
        self._blocks = ray.get(task.train_windows.blocks)
        self._held_out = pa.concat_tables(ray.get(task.held_out_windows.blocks))
        self._contexts = task.held_out.table["context"].to_pylist()
        self._shared: dict[ImportanceMethod, SharedCalibration] = {}

    def run(self, job: Job, setting: Setting) -> Outcome:
        """Run one rung of a trial."""
        started_s = time.monotonic()
        model = cut(self._task, self._parent, job.number, setting, self._shared)
        if job.rung > 0:
            model = self._train(model, job, setting)
        outcome = self._task.outcome(job.rung, self._score(model), started_s)
        del model
        gc.collect()  # an engine and its model refer to each other
        return outcome

    def _train(self, model: PreTrainedModel, job: Job, setting: Setting) -> PreTrainedModel:
        """Continue the trial's training to the budget of its rung."""
        from qa_lib.training.engine import Engine
        from qa_lib.training.group import gather
        from qa_lib.training.loop import planned_batches, take_steps

        task = self._task
        settings = task.settings_of(setting)
        plan = training.plan_of(settings, task.train_windows.lengths)
        micro_batch = unmeasured_micro_batch(settings)
        # One rank has nothing to partition.
        alone = settings.train.model_copy(update={"zero_stage": 0, "offload_optimizer": False})
        self._kernels.apply(model)
        engine = Engine(
            model,
            alone,
            precision=self._kernels.precision,
            device=self._device,
            num_steps=plan.num_steps,
            micro_batch=micro_batch,
            seed=settings.seed,
        )
        store = CheckpointStore(task.folder(job.number).url("checkpoints"))
        # A search that was done, and goes on, has removed its trials' checkpoints: they train anew.
        if job.rung > 1 and (found := store.newest_good()) is not None:
            with tempfile.TemporaryDirectory(prefix="qa-trial-") as folder:
                store.fetch(found, Path(folder))
                engine.load(Path(folder))
        take = partial(dataset.take, self._blocks, task.train_windows.starts)
        batches = planned_batches(
            plan, take, self._forward.pad, micro_batch, first_step=engine.step_number
        )
        take_steps(engine, batches, task.budgets[job.rung])
        if job.rung < len(task.budgets) - 1:
            with tempfile.TemporaryDirectory(prefix="qa-trial-") as folder:
                engine.save(Path(folder))
                step = engine.step_number
                store.write(step, Path(folder), {}, is_main=True, gather=gather, keep=1)
        return engine.model.eval()

    def _score(self, model: PreTrainedModel) -> Scored:
        """Score a model on the held-out questions."""
        task = self._task
        self._forward.model = model.to(self._device)  # type: ignore[arg-type]
        rules = task.settings.evaluate
        found = pa.concat_tables(evaluation.find_spans(self._forward, self._held_out, rules))
        answers = evaluation.merge(found, task.held_out, rules).table(self._contexts)
        ids = task.held_out.table["id"].to_pylist()
        predictions = dict(zip(ids, answers["answer"].to_pylist(), strict=True))
        return evaluation.score(task.held_out, predictions, rules.language)
