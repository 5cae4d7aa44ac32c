"""What is checked before a job is sent, and what it is said to cost."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from cluster import logs, stop, submit
from qa_lib import config
from qa_lib.errors import ConfigError, ResourceError


def settings(*flags: str) -> config.Settings:
    return config.parse("train", ["--storage", "gs://bucket/runs", *flags])


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        (["--storage", "runs"], "--storage"),
        (["--storage", "~/runs"], "--storage"),
        (["--data.source", "./squad"], "--data.source"),
        (["--data.source", "tests/unit"], "--data.source"),
        (["--data.eval-source", "../squad"], "--data.eval-source"),
        (["--model.name", "./model"], "--model.name"),
        (["--train.teacher", "./teacher"], "--train.teacher"),
        (["--search.parent", "./parent"], "--search.parent"),
        (["--adjust.plan", "./plan.json"], "--adjust.plan"),
        (["--train.teacher-only-source", "./more"], "--train.teacher-only-source"),
        (["--evaluate.semantic-model", "./encoder"], "--evaluate.semantic-model"),
        (["--adjust.families", "./mine.py"], "--adjust.families"),
        (["--demo.beside", "./runs/small"], "--demo.beside"),
        (["--serve.beside", "old=./runs/old", "new=gs://bucket/new"], "--serve.beside ./runs/old"),
        (["--serve.token-file", "./token"], "--serve.token-file"),
        (["--answer.context", "@article.txt"], "--answer.context @article.txt"),
        (["--adjust.importance", "tests.support.tiny:score"], "--adjust.importance"),
    ],
)
def test_paths_of_this_machine_are_refused(flags, flag):
    (found,) = submit.local_paths(settings(*flags), "train")
    assert flag in found


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--data.source", "rajpurkar/squad", "--model.name", "bert-base-uncased"],
        ["--data.source", "gs://bucket/squad"],
        ["--storage", "/mnt/shared/runs", "--model.name", "/mnt/shared/runs/mine"],
        ["--answer.context", "@/mnt/shared/article.txt"],
        ["--answer.context", "@gs://bucket/article.txt"],
        ["--answer.context", "@@ann wrote it."],
        ["--adjust.importance", "cluster.mine:score"],  # it is sent
        ["--adjust.importance", "of_the_image:score"],
    ],
)
def test_what_every_node_can_reach_is_accepted(flags):
    assert list(submit.local_paths(settings(*flags), "train")) == []


@pytest.mark.parametrize(
    ("recipe", "travels"),
    [
        ("gcp", True),
        ("my.yaml", True),
        ("./my.yaml", True),
        ("jobs/recipes/t4.yaml", True),
        ("/mnt/shared/my.yaml", True),
        ("runs/mine/config.yaml", False),
        ("../my.yaml", False),
        ("my.yml", False),
    ],
)
def test_a_recipe_that_is_not_sent_is_refused(recipe, travels):
    found = list(submit.local_paths(settings().model_copy(update={"recipe": recipe}), "train"))
    assert [f"--recipe {recipe}" in each for each in found] == [] if travels else [True]


def test_a_job_that_writes_no_run_needs_no_storage():
    local = settings("--storage", "runs")
    assert list(submit.local_paths(local, "verify")) == []
    assert len(list(submit.local_paths(local, "train"))) == 1


def test_relative_storage_stops_a_submission_before_anything_else():
    with pytest.raises(ConfigError, match="--storage runs"):
        submit.submit(["train"])
    with pytest.raises(ConfigError, match="train"):
        submit.submit(["trian"])


def test_a_job_that_cannot_run_is_not_sent():
    with pytest.raises(ConfigError, match="none.parquet"):
        submit.dry_run("train", ["--data.source", "/none.parquet"])


def test_the_dry_run_plans_for_the_clusters_gpus():
    plan = submit.dry_run(
        "train",
        "--recipe gcp --data.source embedded --storage gs://bucket/runs --run-name x".split()
        + ["--storage", "/tmp/none"],
    )
    assert (plan["device"], plan["precision"], plan["world_size"]) == ("cuda", "fp16", 4)
    states = sum(plan["state_bytes_per_rank"].values())
    peak = states + plan["micro_batch"] * plan["activation_bytes_per_window"]
    assert states < peak < 15e9, "more than a T4 holds"


def test_cost_is_arithmetic_on_the_price_table(tmp_path, monkeypatch):
    (tmp_path / "prices.yaml").write_text(
        json.dumps(
            {
                "head": 1.0,
                "worker": {"on_demand": 2.0, "spot": 0.5},
                "gpu": {"T4": {"on_demand": 3.0, "spot": 1.0}},
            }
        )
    )
    monkeypatch.setattr(submit, "HERE", tmp_path)
    text = submit.requirements(
        settings("--recipe", "gcp"), {"estimated_train_seconds": 7200, "steps": 10}
    )
    assert "4 T4 GPUs" in text
    # two hours of the head and four machines with a GPU each
    assert f"${2 * (1 + 4 * 2 + 4 * 3):.2f} on demand" in text
    assert f"${2 * (1 + 4 * 0.5 + 4 * 1):.2f} on spot" in text


def test_a_series_costs_as_many_times_as_it_has_seeds():
    plan = {"estimated_train_seconds": 3600, "steps": 10}
    once, thrice = (
        submit.requirements(settings("--recipe", "gcp", "--seeds", seeds), plan)
        for seeds in ("1", "3")
    )
    hourly = submit.dollars_per_hour("T4", 4, 4)
    assert hourly is not None and f"${hourly['on_demand']:.2f} on demand" in once
    assert f"${3 * hourly['on_demand']:.2f} on demand" in thrice and "3 seeds" in thrice


class Log:
    """A job's log behind a tunnel that fails a number of times."""

    def __init__(self, num_failures: int) -> None:
        self.num_failures = num_failures

    def get_job_info(self, _: str) -> Any:
        if self.num_failures:
            self.num_failures -= 1
            raise ConnectionError("no tunnel")
        return SimpleNamespace(driver_exit_code=0, status=JobStatus.SUCCEEDED)

    def get_job_logs(self, _: str) -> str:
        return "step 1\n"


def test_a_tunnel_that_is_made_anew_does_not_end_what_follows_a_job(monkeypatch, capsys):
    monkeypatch.setattr(submit, "_POLL_S", 0)
    assert submit.follow(Log(3), "raysubmit_1") == 0
    assert capsys.readouterr().out == "step 1\n"
    with pytest.raises(ResourceError, match="may keep running") as caught:
        submit.follow(Log(10**6), "raysubmit_1")
    assert "make logs ID=raysubmit_1" in caught.value.remedy


def test_a_cluster_that_refuses_is_not_asked_again():
    class Refusing:
        def get_job_info(self, _: str) -> Any:
            raise RuntimeError("Request failed with status code 401: Unauthorized")

    with pytest.raises(ResourceError, match="refuses: .* 401") as caught:
        submit.follow(Refusing(), "raysubmit_1")
    assert "the token" in caught.value.remedy


def test_every_gpu_that_a_recipe_may_name_that_is_priced_has_both_prices():
    import yaml

    prices = yaml.safe_load((submit.HERE / "prices.yaml").read_text())
    for price in [prices["worker"], *prices["gpu"].values()]:
        assert 0 < price["spot"] < price["on_demand"]


def test_an_address_that_is_no_dashboard_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    with pytest.raises(ResourceError, match="dashboard"):
        submit.connect()


class Client:
    """The part of Ray's job client that lists jobs."""

    def __init__(self, *jobs: tuple[str, str, int]) -> None:
        self.jobs = jobs

    def list_jobs(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(submission_id=name, metadata={"run": run}, start_time=started)
            for name, run, started in self.jobs
        ]

    def stop_job(self, identity: str) -> bool:
        self.stopped = identity
        return True


def test_a_job_is_found_by_its_id_or_by_its_run():
    client = Client(
        ("raysubmit_1", "first", 1), ("raysubmit_2", "first", 2), ("raysubmit_3", "", 3)
    )
    assert logs.job_of(client, "raysubmit_1") == "raysubmit_1"
    assert logs.job_of(client, "first") == "raysubmit_2"
    for unknown in ("second", ""):
        with pytest.raises(ConfigError, match="no job or run") as caught:
            logs.job_of(client, unknown)
        assert "first" in caught.value.remedy


def test_a_job_is_stopped_where_it_was_sent(monkeypatch, capsys):
    client = Client(("raysubmit_1", "first", 1))
    monkeypatch.setattr(submit, "connect", lambda: client)
    assert stop.stop("first") == 0
    assert client.stopped == "raysubmit_1" and "make logs ID=raysubmit_1" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no job or run ''"):
        stop.stop("")


@pytest.mark.parametrize(("run", "named"), [("first", "RUN=first"), (None, "ID=raysubmit_1")])
def test_where_a_job_can_be_watched_is_said(run, named):
    said = submit.whereabouts("http://127.0.0.1:8265", "raysubmit_1", run)
    assert "http://127.0.0.1:8265/#/jobs/raysubmit_1" in said
    assert f"make logs {named}" in said and "cluster/grafana.json" in said
