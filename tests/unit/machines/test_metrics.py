"""Metrics for Prometheus: what the dashboard asks for is what jobs send, and sending needs Ray."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from qa_lib.machines import metrics
from qa_lib.search import results
from qa_lib.search.halving import Trial

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "cluster" / "grafana.json").read_text())


def exported() -> set[str]:
    """Return the names that Prometheus sees: Ray adds a prefix, and a suffix to counters."""
    gauges = {f"ray_{name}" for name in metrics.GAUGES}
    return gauges | {f"ray_{name}_total" for name in metrics.COUNTERS}


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_for_metrics_that_there_are_and_shows_all():
    asked = set(re.findall(r"\bray_qa_\w+", " ".join(expressions())))
    assert asked == exported()


def test_its_labels_are_those_that_metrics_carry():
    for expression in expressions():
        for name, selector in re.findall(r"\bray_(qa_\w+)\{(.*?)\}", expression):
            known = metrics.LABELS.get(name.removesuffix("_total"), ("run",))
            assert set(re.findall(r"(\w+)=~", selector)) <= set(known)
        grouped = re.search(r"by \(([^)]*)\) \(ray_(qa_\w+)", expression)
        if grouped:
            known = metrics.LABELS.get(grouped[2].removesuffix("_total"), ("run",))
            assert set(grouped[1].replace(" ", "").split(",")) <= set(known)


def test_its_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_state_of_a_trial_is_exported():
    trial = lambda **how: SimpleNamespace(**{"error": None, "rung": 0, "is_parent": False} | how)  # noqa: E731
    trials: list[Trial] = [trial(), trial(error="x"), trial(rung=-1), trial(is_parent=True)]
    states = {results.status_of(each, 2) for each in [*trials, trial(rung=2)]}
    assert states | {"running"} == set(metrics.TRIAL_STATES)


def test_without_ray_nothing_is_made(monkeypatch):
    monkeypatch.setattr(metrics, "_is_connected", lambda: False)
    monkeypatch.setattr(metrics, "_gauge", pytest.fail)
    metrics.send("run", {"qa_train_loss": 1.0}, {"qa_train_windows": 3})
    metrics.send_trials("run", {"running": 1})
