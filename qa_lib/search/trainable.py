"""What Tune runs: one rung of one trial, on one device or over a group of workers."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from ray import tune

from qa_lib import evaluation, models
from qa_lib.adjust import pipeline, prune
from qa_lib.search.halving import Job, Outcome
from qa_lib.search.space import Setting
from qa_lib.search.trial_worker import TrialTask, TrialWorker, cut


class Rung(tune.Trainable):
    """A rung of a trial; Tune reuses the actor for the next one through `reset_config`.

    The configuration holds `number` and `rung`, and `setting` as a dictionary.
    """

    def setup(self, config: dict[str, Any], task: TrialTask | None = None) -> None:
        """Prepare for any number of rungs."""
        assert task is not None
        self.task = task
        self.prepare()

    def prepare(self) -> None:
        """Prepare what all rungs share."""
        self.worker = TrialWorker(self.task)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another rung; nothing of the last one remains."""
        return True

    def step(self) -> dict[str, Any]:
        """Run the rung."""
        job = Job(self.config["number"], self.config["rung"])
        outcome = self.run_job(job, Setting.from_dict(self.config["setting"]))
        return asdict(outcome) | {"done": True}

    def run_job(self, job: Job, setting: Setting) -> Outcome:
        """Run a rung, and return its outcome."""
        return self.worker.run(job, setting)


class GroupRung(Rung):
    """A rung whose training takes several devices: a Ray Train run of its own inside."""

    def prepare(self) -> None:
        """Do nothing: the workers set themselves up."""

    def run_job(self, job: Job, setting: Setting) -> Outcome:
        """Cut where the trial begins; else continue its training run to the rung's budget."""
        started_s = time.monotonic()
        task = self.task
        run = task.folder(job.number)
        run.make()
        settings = task.settings_of(setting)
        if job.rung == 0:
            name = settings.model.name
            parent = models.load(name, seed=settings.seed, dropout=settings.train.dropout)
            model = cut(task, parent, job.number, setting, {})
            prune.write_model(run, model, models.load_tokenizer(name), pipeline.ADJUSTED)
            scored = name if model is parent else run.url(pipeline.ADJUSTED)
        else:
            last_step = task.budgets[job.rung]
            pipeline.recover(settings, run, task.questions, last_step=last_step)
            scored = run.url(pipeline.MODEL)
        scores = evaluation.evaluate(settings, run, scored, task.held_out, final=False)
        return task.outcome(job.rung, scores, started_s)
