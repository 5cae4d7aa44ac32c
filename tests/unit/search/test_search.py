"""A search without Ray: its journal, the next rung, its results, and what it shows."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.search import Searcher

from qa_lib.adjust import pipeline
from qa_lib.config import Settings, parse
from qa_lib.errors import CheckpointError
from qa_lib.models.ragged import Blocks
from qa_lib.runs.result import Adjusted, Scored
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import results, study
from qa_lib.search.display import Display
from qa_lib.search.final import recover_chosen, recover_once
from qa_lib.search.halving import Halving, Outcome
from qa_lib.search.journal import JOURNAL, TARGET, Journal
from qa_lib.search.searcher import RungSearcher
from qa_lib.search.space import Setting
from qa_lib.search.trial_worker import TrialTask
from qa_lib.search.tuner import run_trials
from tests.support.trials import BATCH, PARENT, entry, settings, sizes, trial

# -- the journal and the searcher


def journal_of(folder: Path) -> Journal:
    folder.mkdir(exist_ok=True)
    return Journal(RunFolder(str(folder), "tune"))


def begun(folder: Path, num_trials: int = 0) -> Journal:
    journal = journal_of(folder)
    journal.begin({"--seed": 0})
    journal.measured([entry(PARENT, 12.0), entry(sizes(2), 8.0)])
    journal.proposed(Setting(PARENT, "taylor", 1e-4, 0.5))
    for number in range(1, num_trials + 1):
        journal.proposed(Setting(sizes(2), "taylor", 1e-4 * number, 0.5))
    return journal


def test_the_journal_gives_back_all_but_a_line_that_was_cut_short(tmp_path: Path):
    journal = begun(tmp_path / "run", num_trials=2)
    journal.finished(1, 0, Outcome(40.0, 0, 1.5))
    journal.finished(1, 0, Outcome(41.0, 0, 1.5))  # told of twice
    journal.crashed(2, "it is\nover")
    with open(tmp_path / "run" / JOURNAL, "a") as file:
        file.write('{"event": "finished", "number": 1, "ru')
    again = journal_of(tmp_path / "run")
    assert again.trials == journal.trials
    assert again.entries == journal.entries
    assert [t.error for t in again.trials] == [None, None, "it is\nover"]
    again.finished(1, 1, Outcome(50.0, 64, 2.0))
    assert journal_of(tmp_path / "run").trials[1].outcomes[1].f1 == 50.0


def test_the_journal_gives_back_scores_and_what_was_fitted(tmp_path: Path):
    journal = begun(tmp_path / "run")
    ragged = replace(PARENT, blocks=Blocks((4, 0, 2), (24, 8, 8)))
    journal.scored("divergence", [sizes(2), ragged], [0.25, 1e-9])
    journal.scored("agreement", [ragged], [0.5])
    journal.fit(1.5, 1, ragged, [1.51, 1.5, 1.6])
    journal.timed({0: 12.0, 2: 9.0})
    journal.timed({0: 12.5, 1: 8.0})
    again = journal_of(tmp_path / "run")
    assert again.scores["divergence"] == {sizes(2): 0.25, ragged: 1e-9}
    assert again.scores["agreement"] == {ragged: 0.5}
    assert again.milliseconds == {0: 12.5, 1: 8.0}
    assert again.fitted == {1.5: (1, ragged, [1.51, 1.5, 1.6])}


def test_a_search_is_not_resumed_as_another_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    begun(tmp_path / "run")
    again = journal_of(tmp_path / "run")
    again.begin({"--seed": 0})
    with pytest.raises(CheckpointError, match="--seed 0, not --seed 1"):
        again.begin({"--seed": 1})
    assert not capsys.readouterr().err
    again.begin({"--seed": 0, "--new": None})
    assert "begun by an earlier version, which recorded fewer settings" in capsys.readouterr().err
    old = journal_of(tmp_path / "old")
    old.begin({TARGET: None, "--seed": 0})
    old.begin({TARGET: "cpu", "--seed": 0})
    with pytest.raises(CheckpointError, match="--seed 0, not --seed 1"):
        old.begin({TARGET: "cpu", "--seed": 1})


def test_a_recovery_is_repeated_unless_it_is_done_and_forgets_another_trials(tmp_path: Path):
    begun(tmp_path / "run")
    run, ran, wish = RunFolder(str(tmp_path / "run"), "tune"), [], parse("tune", [])

    def recover(number: int, *, fails: bool = False, settings: Settings = wish) -> list[Any]:
        def work() -> None:
            ran.append(number)
            if fails:
                raise RuntimeError("killed")
            run.write_text("checkpoints/0/weights", str(number))

        with suppress(RuntimeError):
            recover_once(run, journal_of(tmp_path / "run"), 2.0, number, settings, work)
        return run.entries("checkpoints")

    assert recover(1) and ran == [1]
    assert recover(1) and ran == [1], "it is done"
    longer = wish.model_copy(update={"train": wish.train.model_copy(update={"epochs": 9})})
    assert recover(1, settings=longer) and ran == [1, 1], "training says whether it can go on"
    assert not recover(2, fails=True), "another trial's checkpoints are gone"
    assert recover(2) and recover(2) and ran == [1, 1, 2, 2]


def test_a_recovery_that_has_a_checkpoint_keeps_its_plan_and_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun(tmp_path / "run")
    run, checked, recovered = RunFolder(str(tmp_path / "run"), "tune"), [], []
    for name in ("plan.json", "adjusted/weights", "checkpoints/0/weights"):
        run.write_text(name, "as begun")
    plan = SimpleNamespace(check_parent=lambda *parent: checked.append(parent))
    monkeypatch.setattr("qa_lib.adjust.Plan.read", lambda _: plan)
    monkeypatch.setattr(pipeline, "recover_and_score", lambda *given: recovered.append(given))
    monkeypatch.setattr("qa_lib.models.card.write_card", lambda *_, **__: None)
    task = SimpleNamespace(
        settings=parse("tune", []),
        parent_sha256="a",
        questions=None,
        train_windows=SimpleNamespace(num_windows=64),
    )
    recover_chosen(task, run, lambda: pytest.fail("made again"), trial(1, 50.0))
    assert checked == [("a", "embedded")] and len(recovered) == 1
    assert run.read_text("adjusted/weights") == run.read_text("plan.json") == "as begun"


def test_a_choice_of_equal_layers_forgets_how_those_before_it_differed(tmp_path: Path):
    wish = parse("tune", ["--storage", str(tmp_path), "--run-name", "run"])
    with RunFolder.open(wish, "tune") as run:
        run.begin()
        run.write_result(Adjusted(blocks={"num_heads": [4, 0]}), status="running")
        recover_once(run, Journal(run), 2.0, 1, wish, lambda: None)
        recover_once(run, Journal(run), 2.0, 2, wish, lambda: None)
        assert run.read_result()["blocks"] is None


@pytest.mark.parametrize(
    ("scores", "f1"),
    [(Scored(em=30.0, f1=40.0), 40.0), (Scored(em=30.0, f1=40.0, language_f1=55.0), 55.0)],
)
def test_a_trial_is_ranked_by_the_rules_of_its_language(scores: Scored, f1: float):
    task = SimpleNamespace(budgets=[0, 4], settings=parse("tune", []))
    assert TrialTask.outcome(task, 1, scores, 0.0).f1 == f1


def searcher_of(journal: Journal, rule: Halving, **values) -> RungSearcher:
    def setting() -> Setting:
        return Setting(sizes(2), "taylor", 1e-4 * len(journal.trials), 0.5)

    return RungSearcher(journal, rule, setting, settings(**{"num_trials": 8} | values), BATCH)


def drain(searcher: RungSearcher, journal: Journal, rule: Halving) -> list[tuple[int, int]]:
    """Run every rung that is suggested, one at a time."""
    ran = []
    while (config := searcher.suggest("one")) != Searcher.FINISHED:
        number, rung = config["number"], config["rung"]
        windows = rule.budgets[rung] * BATCH
        journal.finished(number, rung, Outcome(10.0 * rung + number, windows, 1.0))
        searcher.on_trial_complete("one")
        ran.append((number, rung))
    return ran


def test_a_whole_search_runs_each_rung_once_and_a_resumed_one_what_is_left(tmp_path: Path):
    rule = Halving(settings(), BATCH)
    journal = begun(tmp_path / "whole")
    whole = drain(searcher_of(journal, rule), journal, rule)
    assert len(set(whole)) == len(whole)
    assert sum(rung == 0 for _, rung in whole) == 9
    assert sum(rung == 2 for _, rung in whole) >= 2

    stopped = begun(tmp_path / "stopped")
    searcher = searcher_of(stopped, rule)
    for _ in range(5):
        config = searcher.suggest("one")
        windows = rule.budgets[config["rung"]] * BATCH
        value = 10.0 * config["rung"] + config["number"]
        stopped.finished(config["number"], config["rung"], Outcome(value, windows, 1.0))
        searcher.on_trial_complete("one")
    killed = searcher.suggest("one")  # and the driver dies before its result arrives
    again = journal_of(tmp_path / "stopped")
    rest = drain(searcher_of(again, rule), again, rule)
    assert rest[0] == (killed["number"], killed["rung"])
    assert rest == whole[5:]
    assert again.trials == journal.trials


def test_a_resumed_search_retries_once_what_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = begun(tmp_path / "run", num_trials=1)
    journal.finished(0, 0, Outcome(90.0, 0, 1.0))
    journal.crashed(1, "OSError: No space left on device")
    rule = Halving(settings(), BATCH)
    assert drain(searcher_of(journal, rule, num_trials=1), journal, rule) == []

    def tuner(task: Any, run: RunFolder, searcher: RungSearcher, *_: Any) -> Any:
        def fit() -> None:
            assert searcher.suggest("one")["number"] == 1
            again.crashed(1, "ValueError: its own fault")
            searcher.on_trial_complete("one", error=True)
            assert searcher.suggest("two") == Searcher.FINISHED

        return SimpleNamespace(fit=fit)

    monkeypatch.setattr("qa_lib.search.tuner._tuner", tuner)
    run, again = RunFolder(str(tmp_path / "run"), "tune"), journal_of(tmp_path / "run")
    task = SimpleNamespace(settings=parse("tune", ["--search.num-trials", "1"]))
    run_trials(task, again, rule, None, run=run, num_concurrent=1)
    assert again.trials[1].error == "ValueError: its own fault"
    assert journal_of(tmp_path / "run").trials == again.trials


def test_nothing_begins_beyond_the_window_budget_or_the_deadline(tmp_path: Path):
    rule = Halving(settings(halving=False), BATCH)
    journal = begun(tmp_path / "windows")
    drain(searcher_of(journal, rule, window_budget=3 * 320 + 319), journal, rule)
    assert sum(each.outcomes[-1].num_windows for each in journal.trials) == 3 * 320
    journal = begun(tmp_path / "late")
    assert drain(searcher_of(journal, rule, time_budget_s=1e-9), journal, rule) == []


def test_while_a_rung_runs_there_is_waiting_not_an_end(tmp_path: Path):
    rule = Halving(settings(), BATCH)
    journal = begun(tmp_path / "run")
    searcher = searcher_of(journal, rule, num_trials=1)
    assert searcher.suggest("parent")["number"] == 0
    assert searcher.suggest("first")["number"] == 1
    assert searcher.suggest("none") is None


# -- results


def test_rank_correlations_are_those_of_the_ranks():
    one = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert results.spearman(one, one**3) == 1.0
    assert results.spearman(one, -one) == -1.0
    # Kendall and Gibbons' example of tied ranks, by hand: ranks 0.5 0.5 2 3 4 against 0 1 2 3 4.
    assert results.spearman(np.array([1.0, 1.0, 3.0, 4.0, 5.0]), one) == pytest.approx(0.9747, 1e-4)
    assert results.spearman(one[:2], one[:2]) is None
    assert results.spearman(one, np.ones(5)) is None


def test_the_choice_is_the_best_f1_at_the_speed_up_else_the_fastest():
    trials = [
        trial(0, 99.0),
        trial(1, 9.0, 60.0, latency_ms=8.0),
        trial(2, 9.0, 50.0, latency_ms=4.0),
        trial(3, 9.0, 55.0, latency_ms=5.0),
        trial(4, 9.0, 52.0, latency_ms=6.0),  # slower and worse than the third
        trial(5, 80.0, latency_ms=2.0),  # better, but after surgery only
    ]
    found = results.front_of(trials)
    assert [each.number for each in found] == [2, 3, 1]
    speedups = {1: 1.5, 2: 3.0, 3: 2.0}
    assert results.choose(found, speedups, 2.0) == (trials[3], True)
    assert results.choose(found, speedups, 1.0) == (trials[1], True)
    assert results.choose(found, speedups, 2.5) == (trials[2], True)
    assert results.choose(found, speedups, 5.0) == (trials[2], False)
    assert results.choose(found, speedups, 2.03) == (trials[3], True), "builds differ by more"
    assert results.choose(found, speedups, 2.05) == (trials[2], True)
    assert results.front_of([trial(0, 99.0), trial(1, error="out of memory")]) == []


def test_each_speed_gets_the_best_f1_of_the_sizes_that_have_it():
    trials = [trial(0, 99.0), trial(1, 9.0, 60.0), trial(2, 9.0, 61.0), trial(3, 70.0)]
    trials += [trial(4, 9.0, 40.0), trial(5, error="killed")]
    for each, asked in zip(trials, (0.0, 1.5, 2.0, 1.5, 3.0, 4.0), strict=True):
        each.asked = asked
    assert results.best_at(trials, 1.5).number == 2  # faster, and better
    assert results.best_at(trials, 3.0).number == 4
    assert results.best_at(trials, 4.0).speedup == max(t.speedup for t in trials[:5])


def test_the_dashboard_of_optuna_reads_the_trials(tmp_path: Path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    trials = [trial(0, 99.0), trial(1, 9.0, 60.0), trial(2, 9.0), trial(3, error="killed")]
    study.write(RunFolder(str(tmp_path), "tune"), trials, top=1)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / study.STUDY)))
    (name,) = optuna.get_all_study_names(storage)
    read = optuna.load_study(study_name=name, storage=storage).trials
    assert [each.state.name for each in read] == ["COMPLETE", "PRUNED", "FAIL"]
    assert read[0].values == [60.0, trials[1].latency_ms]
    assert read[0].params["learning_rate"] == trials[1].setting.learning_rate


def test_rows_and_facts_count_what_was_trained_and_what_was_saved(tmp_path: Path):
    rule = Halving(settings(trial_windows=320, num_rungs=2), BATCH)
    journal = begun(tmp_path / "run")
    drain(searcher_of(journal, rule), journal, rule)
    journal.trials[1].error = "killed"
    rows = results.rows(journal.trials, rule)
    assert [row["status"] for row in rows][:2] == ["parent", "crashed"]
    assert {row["status"] for row in rows[2:]} == {"stopped", "finished"}
    assert all(row[f"f1_rung_{row['rung']}"] == row["f1"] for row in rows)
    found = results.facts(journal, rule, dict.fromkeys(range(9), 1.5))
    assert found["search_windows_full_budgets"] == 8 * 320
    assert found["search_windows"] == sum(row["num_windows"] for row in rows)
    assert 0 < found["search_windows_saved"] < 1
    results.write_tables(RunFolder(str(tmp_path / "run"), "tune"), rows)
    lines = (tmp_path / "run" / results.TRIALS_CSV).read_text().splitlines()
    assert len(lines) == 1 + len(rows)


# -- the display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream_class", [io.StringIO, Terminal])
def test_a_search_shows_its_trials_and_the_time_left(stream_class, tmp_path: Path):
    stream = stream_class()
    trials = [trial(0, 50.0), trial(1, 3.0, 10.0, 20.0), trial(2, 1.0), trial(3, error="killed")]
    rule = Halving(settings(), BATCH)
    run = RunFolder(str(tmp_path), "tune")
    with Display(run, trials, rule, num_trials=8, num_concurrent=2, stream=stream) as display:
        # Rung 0 of 6 more, rung 1 of 3 more, rung 2 of 1 more, a second each, two at a time.
        assert display.seconds_left() == 5.0
        display.started(trials[1])
        display.ended(trials[1])
        display.started(trials[2])
        display.ended(trials[3])
    shown = stream.getvalue()
    assert "20.00" in shown and "1.20x" in shown and "crashed" in shown and "0:05 left" in shown
    assert ("running" in shown) == stream.isatty()
    assert list((tmp_path / "tensorboard" / "trial-001").glob("events.*"))
