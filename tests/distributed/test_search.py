"""Trials on Tune, with real surgery and real DeepSpeed steps, on a random BERT of three layers."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from qa_lib import config, models, search, training, windows
from qa_lib.adjust import Plan
from qa_lib.data import load_questions
from qa_lib.errors import AdjustError, DataError
from qa_lib.machines import actors
from qa_lib.machines.actors import Crew
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import results, tuner
from qa_lib.search.explore import explore, trial_sizes
from qa_lib.search.halving import Halving, Job, Outcome
from qa_lib.search.journal import JOURNAL, Journal
from qa_lib.search.scoring import ScoringTask, scorer
from qa_lib.search.space import Setting, space_of
from qa_lib.search.trainable import Rung
from qa_lib.search.trial_worker import TrialTask, TrialWorker, cut
from qa_lib.training import dataset, teacher
from tests.support import tiny_search

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


class Faulty(Rung):
    """Trial 2 is killed the first time it is scored; trial 3 crashes whenever it is."""

    def run_job(self, job: Job, setting: Setting) -> Outcome:
        mark = Path(self.task.run_path) / "killed"
        if job.number == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if job.number == 3:
            raise ValueError("this setting always crashes")
        return super().run_job(job, setting)


def settings_of(folder: Path, *flags: str) -> config.Settings:
    return config.parse(
        "tune",
        [*tiny_search.flags(folder), *flags],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    titles = load_questions(settings_of(folder).data, "holdout").titles
    tiny_search.write_parent(folder / "parent", titles)
    return folder


def run_trials(
    settings: config.Settings, name: str
) -> tuple[RunFolder, TrialTask, Journal, Halving]:
    settings = settings.model_copy(update={"run_name": name})
    with RunFolder.open(settings, "tune") as run:
        return run, *explore(settings, run)


@pytest.fixture(scope="module")
def explored(folder) -> tuple[RunFolder, TrialTask, Journal, Halving]:
    return run_trials(settings_of(folder), "whole")


def ran(run: RunFolder) -> Counter[tuple[int, int]]:
    """Count how often each rung of each trial is in the journal."""
    events = [json.loads(line) for line in run.read_text(JOURNAL).splitlines()]
    return Counter((e["number"], e["rung"]) for e in events if e["event"] == "finished")


def test_every_trial_is_scored_after_surgery_and_the_best_are_trained(explored):
    run, task, journal, rule = explored
    assert len(journal.trials) == 5
    assert all(trial.rung >= 0 and trial.error is None for trial in journal.trials)
    counts = Counter(trial.rung for trial in journal.trials[1:])
    assert counts[2] >= 1 and counts[1] + counts[2] >= 2
    for trial in journal.trials[1:]:
        assert [o.num_windows for o in trial.outcomes] == [0, 32, 64][: trial.rung + 1]
    assert set(ran(run).values()) == {1}
    whole = journal.trials[0]
    assert whole.speedup == 1.0 and whole.rung == 0
    assert (Path(run.path) / "tensorboard").is_dir()


def test_a_search_that_is_done_is_extended_without_repeating_a_rung(explored, folder):
    run, task, journal, rule = explored
    before = [(trial.setting, list(trial.outcomes)) for trial in journal.trials]
    settings = settings_of(folder, "--resume", "--search.num-trials", "5")
    run, task, again, _ = run_trials(settings, "whole")
    assert len(again.trials) == 6
    for (setting, outcomes), trial in zip(before, again.trials, strict=False):
        assert trial.setting == setting
        assert trial.outcomes[: len(outcomes)] == outcomes
    assert set(ran(run).values()) == {1}


@pytest.mark.slow
def test_a_killed_worker_costs_a_rung_and_a_crash_only_its_trial(explored, folder):
    _, task, straight, rule = explored
    settings = settings_of(folder).model_copy(update={"run_name": "faulty"})
    with RunFolder.open(settings, "tune") as run:
        journal = Journal(run)
        journal.begin({})
        journal.measured(straight.entries)
        for trial in straight.trials[:5]:
            journal.proposed(trial.setting)
        space = space_of(models.load_config(task.settings.model.name), settings.search.space)
        task = TrialTask(**vars(task) | {"run_path": run.path})
        tuner.run_trials(task, journal, rule, space, run=run, num_concurrent=1, trainable=Faulty)
    assert (Path(run.path) / "killed").exists()
    crashed = journal.trials[3]
    assert (crashed.rung, crashed.error) == (-1, "ValueError: this setting always crashes")
    for number in (0, 1, 2, 4):
        trial = journal.trials[number]
        assert trial.error is None
        assert trial.outcomes[0].f1 == straight.trials[number].outcomes[0].f1
    assert max(trial.rung for trial in journal.trials) == 1  # the best half of three
    rows = results.rows(journal.trials, rule)
    assert rows[3]["status"] == "crashed" and "always crashes" in rows[3]["error"]
    assert set(ran(run).values()) == {1}


def test_a_parent_that_may_have_seen_the_held_out_articles_is_refused(folder, tmp_path):
    titles = load_questions(settings_of(folder).data, "holdout").titles
    for name, known in (("other", titles[1:]), ("unknown", ())):
        parent = tiny_search.write_parent(tmp_path / name, known)
        settings = settings_of(folder, "--search.parent", parent)
        with pytest.raises(DataError, match="may have been trained on"):
            run_trials(settings, "refused")
        with pytest.raises(DataError, match="may have been trained on"):
            search.describe(settings)
    flags = ("--search.parent", str(tmp_path / "other"), "--search.seen-holdout")
    assert search.describe(settings_of(folder, *flags))["num_held_out_articles"] == len(titles)


def test_settings_of_an_adjustment_that_do_not_apply_are_named(folder, capsys):
    applies = ["--adjust.calibration-windows", "9", "--adjust.recover", "true"]
    others = ["--adjust.vocabulary", "corpus", "--adjust.num-layers", "2"]
    search.describe(settings_of(folder, *applies, *others))
    assert "note: --adjust.num-layers, --adjust.vocabulary do not apply" in capsys.readouterr().err
    search.describe(settings_of(folder, *applies))
    assert not capsys.readouterr().err


def test_sizes_that_the_parent_cannot_have_are_refused_before_anything_runs(folder):
    settings = settings_of(folder, "--search.space.num-layers", "9")
    with pytest.raises(AdjustError, match="--search.space.num-layers"):
        run_trials(settings, "refused")
    assert not (folder / "refused").exists()


@pytest.mark.slow
def test_a_trial_trains_as_the_training_job_does_bit_for_bit(explored, folder):
    import ray

    run, task, journal, rule = explored
    setting = journal.trials[1].setting
    # Left to `auto`, trials take the parent's kernels and the job those of the adjusted model.
    kernels = {"precision": "bf16", "attention": "sdpa"}
    train = task.settings.train.model_copy(update=kernels)
    settings = task.settings.model_copy(update={"train": train})
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    name = settings.model.name
    plain = dataset.tokenize(task.questions.table, name, spec, offsets=False)
    taught, _ = teacher.attach(settings, plain)
    changed = {"run_path": str(folder / "bits"), "settings": settings, "train_windows": taught}
    task = TrialTask(**vars(task) | changed)

    @ray.remote(num_cpus=0.5)
    def in_two_rungs() -> dict[str, Any]:
        worker = TrialWorker(task)
        for rung in (0, 1):
            worker.run(Job(1, rung), setting)
        start = cut(task, worker._parent, 1, setting, {})
        models.save(
            start, models.load_tokenizer(task.settings.model.name), folder / "bits" / "adjusted"
        )
        end = worker._train(start, Job(1, 2), setting)
        return {name: tensor.numpy() for name, tensor in end.state_dict().items()}

    ours = ray.get(in_two_rungs.remote())
    student = task.settings_of(setting)
    student = student.model_copy(
        update={
            "model": student.model.model_copy(update={"name": str(folder / "bits" / "adjusted")}),
            "run_name": "bits-whole",
        }
    )
    with RunFolder.open(student, "train") as whole:
        training.fine_tune(student, whole, task.questions)
    theirs = load_file(f"{whole.root}/model/model.safetensors")
    assert [name for name in theirs if not np.array_equal(ours[name], theirs[name])] == []


@pytest.mark.slow
def test_trials_of_two_workers_are_runs_of_ray_train(explored, folder, monkeypatch):
    _, _, straight, rule = explored
    # What is proposed depends on latencies, which no two measurements share.
    monkeypatch.setattr("qa_lib.search.explore._drawn", lambda *_: straight.entries)
    flags = ("--train.num-workers", "2", "--train.zero-stage", "2", "--search.num-trials", "2")
    run, task, journal, rule = run_trials(settings_of(folder, *flags), "group")
    first = journal.trials[1]
    assert first.setting == straight.trials[1].setting
    assert first.outcomes[0].f1 == straight.trials[1].outcomes[0].f1
    assert max(trial.rung for trial in journal.trials) >= 1
    trained = next(trial for trial in journal.trials if trial.rung > 0)
    ledger = task.folder(trained.number)
    assert training.read_ledger(ledger).num_rows == trained.outcomes[-1].num_windows


def test_a_ragged_trial_is_cut_and_trained_as_its_plan_shares_it_out(folder):
    flags = ("--search.space.ragged", "true", "--search.num-trials", "1", "--search.no-halving")
    flags += ("--search.space.hidden-size", "32", "--search.space.intermediate-size", "32")
    run, task, journal, rule = run_trials(settings_of(folder, *flags), "ragged")
    trial = journal.trials[1]
    assert trial.rung == rule.top and trial.error is None
    wish, shared = trial.setting.sizes.blocks, trial_sizes(task, trial).blocks
    assert wish is not None and shared is not None
    assert sum(shared.intermediate_size) <= sum(wish.intermediate_size)
    assert trial.speedup > 0


class Killed(Crew):
    """A crew whose first actor is killed while it scores."""

    def next_result(self) -> Any:
        import ray

        if not hasattr(self, "killed") and self._loaded and self._running:
            self.killed = True
            ray.kill(self._loaded[0])
        return super().next_result()


@pytest.fixture(scope="module")
def enumerated(folder) -> tuple[RunFolder, TrialTask, Journal, Halving]:
    settings = config.parse("tune", tiny_search.one_shot_flags(folder))
    return run_trials(settings, "one-shot")


def test_enumerated_sizes_are_scored_and_the_best_of_them_tried(enumerated):
    run, task, journal, rule = enumerated
    parent, *entries = journal.entries
    assert parent.divergence is None and parent.speedup == 1.0
    assert all(entry.asked == 1.2 and entry.speedup >= 1.2 for entry in entries)
    assert min(entry.divergence for entry in entries) > 0
    tried = {trial.setting.sizes for trial in journal.trials[1:]}
    assert tried == {entry.sizes for entry in entries if not entry.skipped}
    assert len(journal.trials) == 5  # one of them other rates for the best sizes
    best = rule.best(journal.trials[1:])
    assert best is not None and best.rung == 2
    for trial in journal.trials[1:]:
        assert Plan.read(task.folder(trial.number)).keep.sizes == trial.setting.sizes
    assert set(ran(run).values()) == {1}


def test_a_killed_actor_repeats_only_what_it_was_scoring(enumerated, monkeypatch):
    _, task, journal, _ = enumerated
    monkeypatch.setattr(actors, "Crew", Killed)
    sizes = [entry.sizes for entry in journal.entries[1:]] * 2
    scoring = ScoringTask(
        parent=task.settings.model.name,
        adjust=task.adjust_settings("taylor"),
        seed=task.settings.seed,
        device="cpu",
        calibration=task.calibration,
        held_out=task.calibration,
    )
    with TemporaryDirectory() as path:
        empty = Journal(RunFolder(path, "tune"))
        with scorer(task.settings, scoring, empty) as score:
            found = score(sizes)
        events = RunFolder(path, "tune").read_text(JOURNAL).splitlines()
    assert found[: len(sizes) // 2] == found[len(sizes) // 2 :]
    told = Counter((e["measure"], str(one)) for e in map(json.loads, events) for one in e["sizes"])
    assert len(told) == 2 * len(set(sizes)) and set(told.values()) == {1}, "each is scored once"
