"""What a node of Ray exports to Prometheus while a job runs."""

from __future__ import annotations

import time
import urllib.request

import pytest

from qa_lib.machines import metrics

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(120)]


def exported(needle: str) -> str:
    """Return a node's metrics once they hold a text; Ray exports every ten seconds."""
    import ray

    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + 60
    text = ""
    while needle not in text and time.monotonic() < deadline:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    return text


def values(text: str, name: str) -> dict[str, float]:
    """Return the values of a metric of the run `first`, by its state where it has one."""
    found = {}
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and 'run="first"' in line:
            state = line.partition('state="')[2].partition('"')[0]
            found[state] = float(line.rpartition(" ")[2])
    return found


def test_prometheus_sees_the_metrics_of_a_run():
    metrics.send("first", {"qa_train_loss": 2.5}, {"qa_train_windows": 0})
    metrics.send("first", {"qa_train_loss": 1.5, "qa_train_step": 3}, {"qa_train_windows": 40})
    metrics.send("first", {"qa_train_step": 4}, {"qa_train_windows": 24})
    metrics.send_trials("first", {"running": 2})
    metrics.send_trials("first", {"running": 1, "finished": 1})
    text = exported("ray_qa_search_trials")
    assert values(text, "ray_qa_train_loss") == {"": 1.5}
    assert values(text, "ray_qa_train_step") == {"": 4}
    assert values(text, "ray_qa_train_windows_total") == {"": 64}
    trials = values(text, "ray_qa_search_trials")
    assert (trials["running"], trials["finished"], trials["crashed"]) == (1, 1, 0)
