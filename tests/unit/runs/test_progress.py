"""Progress: lines that are few and complete off a terminal, a bar on one."""

import gc
import io
import re
import sys

import pytest

from qa_lib.runs.progress import Progress, tracked


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_off_a_terminal_lines_are_few_and_the_last_update_is_among_them():
    stream = io.StringIO()
    with Progress(1000, "steps", "training", stream=stream, line_every_s=3600) as progress:
        for step in range(1, 1001):
            progress.update(step, loss=5.0 / step)
    assert stream.getvalue() == (
        "training: 1 of 1,000 steps, loss 5\ntraining: 1,000 of 1,000 steps, loss 0.005\n"
    )


def test_the_time_left_counts_from_where_resumed_work_began():
    stream = io.StringIO()
    with Progress(1_000_000, "steps", "training", stream=stream, line_every_s=0) as progress:
        progress.update(900_000)
        progress.update(999_999)
    first, second = stream.getvalue().splitlines()
    assert "left" not in first  # one point has no speed
    assert second.endswith("0:00 left")


def test_a_terminal_gets_a_bar_with_the_figures():
    stream = Terminal()
    with Progress(10, "steps", "training", stream=stream) as progress:
        progress.update(10, windows_per_s=45.251)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "training" in plain and "10/10" in plain and "windows_per_s 45.25" in plain


def test_an_error_inside_leaves_the_last_update_visible():
    stream = io.StringIO()
    try:
        with Progress(10, "steps", "training", stream=stream, line_every_s=3600) as progress:
            progress.update(1)
            progress.update(7)
            raise RuntimeError
    except RuntimeError:
        assert stream.getvalue().splitlines()[-1].startswith("training: 7 of 10")


def test_work_that_is_soon_done_is_not_told_of_off_a_terminal():
    stream = io.StringIO()
    with Progress(2, "batches", "calibrating", stream=stream, quiet_s=3600) as progress:
        progress.update(1)
        progress.update(2)
    assert stream.getvalue() == ""


def test_what_is_tracked_comes_unchanged_and_counts_when_the_work_on_it_is_done(capsys):
    told = []
    for item in tracked(["a", "b", "c"], "batches", "calibrating"):
        told.append((item, capsys.readouterr().err))
    last = capsys.readouterr().err
    # The first line is that of the first item, once the second is asked for.
    assert told == [("a", ""), ("b", "calibrating: 1 of 3 batches\n"), ("c", "")]
    assert last == "calibrating: 3 of 3 batches\n"


def test_what_is_tracked_is_quiet_where_it_is_soon_done(capsys):
    assert list(tracked([1, 2], "shapes", "measuring", quiet_s=3600)) == [1, 2]
    assert list(tracked([], "shapes", "measuring")) == []
    assert capsys.readouterr().err == ""


def test_work_that_is_left_early_shows_how_far_it_came(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(ValueError, match="of the work"):
        for item in tracked(range(1, 10), "batches", "calibrating"):
            if item == 4:
                raise ValueError("of the work")
    gc.collect()
    assert stream.getvalue().splitlines()[-1].startswith("calibrating: 3 of 9 batches")
