"""The pool of model actors: order, counts, errors of their own class, actors that are lost."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from qa_lib.config import EvaluateSettings, Settings, TrainSettings
from qa_lib.errors import ModelError, ResourceError
from qa_lib.machines.actors import ActorPool, Work

pytestmark = pytest.mark.usefixtures("ray_session")

TASKS = [pa.table({"n": [number, 10 * number]}) for number in range(7)]


def settings_of(num_actors: int | None) -> Settings:
    return Settings(
        train=TrainSettings(device="cpu"), evaluate=EvaluateSettings(num_actors=num_actors)
    )


def run(load: Callable[[int], Work], num_actors: int = 2) -> list[list[int]]:
    pool = ActorPool.of(settings_of(num_actors))
    results = pool.run(load, TASKS, title="doubling", unit="rows")
    return [part["n"].to_pylist() for part in results]


def load_doubler(blocks: list[ray.ObjectRef], num_threads: int) -> Work:
    assert num_threads >= 1 and ray.get(blocks) == ["held by the driver"]

    def double(task: pa.Table) -> pa.Table:
        if task["n"][1].as_py() % 20:  # every other task is late
            time.sleep(0.05)
        return pa.table({"n": [2 * each for each in task["n"].to_pylist()]})

    return double


def test_all_results_come_in_the_order_of_the_tasks():
    expected = [[2 * number, 20 * number] for number in range(7)]
    assert run(partial(load_doubler, [ray.put("held by the driver")])) == expected


def test_the_speed_of_a_later_run_counts_from_its_beginning(capsys):
    late = [TASKS[1]]  # 2 rows in 0.05 s
    load = partial(load_doubler, [ray.put("held by the driver")])
    with ActorPool.of(settings_of(1)).hold(load) as crew:
        for _ in range(2):
            list(crew.run(late, title="doubling", unit="rows"))
    first, second = re.findall(r"rows_per_s (\S+)", capsys.readouterr().err)
    assert float(first) <= 40 and float(second) <= 40


def load_in_vain(num_threads: int) -> Work:
    raise ModelError("It does not load.", "Mend it.")


def load_that_fails_at_work(error: Exception, num_threads: int) -> Work:
    def fail(task: pa.Table) -> pa.Table:
        raise error

    return fail


def test_an_error_of_the_users_keeps_its_class_and_remedy():
    with pytest.raises(ModelError, match="does not load") as caught:
        run(load_in_vain)
    assert type(caught.value) is ModelError and caught.value.remedy == "Mend it."
    with pytest.raises(ModelError, match="not finite") as caught:
        run(partial(load_that_fails_at_work, ModelError("not finite", "Mend it.")))
    assert type(caught.value) is ModelError


def test_a_bug_in_the_work_comes_out_with_its_traceback():
    with pytest.raises(ZeroDivisionError, match="fail"):
        run(partial(load_that_fails_at_work, ZeroDivisionError("a bug")))


def load_shortener(num_threads: int) -> Work:
    return lambda task: task.slice(1)


def test_a_result_that_lost_a_row_is_a_bug():
    with pytest.raises(AssertionError, match="lost or gained rows"):
        run(load_shortener)


def load_that_dies_once(flag: str, num_threads: int) -> Work:
    def work(task: pa.Table) -> pa.Table:
        if task["n"][0].as_py() == 3 and not Path(flag).exists():
            Path(flag).touch()
            os._exit(1)
        return task

    return work


def test_tasks_of_a_lost_actor_are_repeated_by_its_successor(tmp_path):
    expected = [task["n"].to_pylist() for task in TASKS]
    assert run(partial(load_that_dies_once, str(tmp_path / "died")), num_actors=1) == expected
    assert (tmp_path / "died").exists()


def load_that_always_dies(num_threads: int) -> Work:
    return lambda task: os._exit(1)


def test_a_task_that_kills_every_actor_is_given_up():
    with pytest.raises(ResourceError, match="4 actors were lost on task"):
        run(load_that_always_dies, num_actors=1)


def test_a_pool_is_sized_for_the_machine():
    pool = ActorPool.of(settings_of(2))
    assert (pool.device, pool.num_actors, pool.num_threads, pool.num_gpus) == ("cpu", 2, 2, 0)
    assert ActorPool.of(settings_of(None)).num_actors == 1
    with pytest.raises(ResourceError, match="num-actors 1000"):
        ActorPool.of(settings_of(1000))
