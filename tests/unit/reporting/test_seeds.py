"""The spread of scores over seeds."""

import pytest

from qa_lib.reporting.seeds import spread, table


def test_the_interval_is_students():
    # Four values of mean 5 and standard deviation 2: t of 3 degrees of freedom is 3.182.
    found = spread([3.0, 7.0, 5 - 2**0.5, 5 + 2**0.5])
    assert (found.mean, found.deviation) == pytest.approx((5.0, 2.0))
    assert (found.low, found.high) == pytest.approx((5 - 3.182, 5 + 3.182), abs=1e-3)


def test_one_run_has_no_spread():
    assert spread([70.0]) == (70.0, 0.0, 70.0, 70.0)


def test_the_table_shows_every_run_and_its_scores():
    results = {
        seed: {"f1": 70.0 + seed, "em": 60.0, "seconds": 12.3, "run_name": f"mine-seed-{seed}"}
        for seed in (4, 5)
    }
    lines = [line.split() for line in table(results).splitlines()]
    assert lines[0] == ["seed", "F1", "EM", "seconds", "run"]
    assert lines[1] == ["4", "74.00", "60.00", "12", "mine-seed-4"]
    assert lines[3] == ["mean", "74.50", "60.00"]
    del results[4]["f1"]
    assert table(results).splitlines()[0].split() == ["seed", "EM", "seconds", "run"]
