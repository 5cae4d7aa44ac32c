"""Latencies are bounded by time: slow models get fewer passes of fewer windows."""

import torch
from transformers import BertConfig

from qa_lib.models import latency


class Counted:
    """A model whose passes are counted."""

    device = torch.device("cpu")
    config = BertConfig()

    def __init__(self) -> None:
        self.passes = 0

    def __call__(self, tokens: torch.Tensor) -> None:
        self.passes += 1


def test_a_pass_has_as_many_windows_as_a_minute_allows():
    assert latency.affordable(32, None) == 32
    assert latency.affordable(32, {"parent": 0.03, "child": 0.02}) == 32
    assert latency.affordable(32, {"parent": 0.3, "child": 0.2}) == 4
    assert latency.affordable(32, {"parent": 20.0, "child": 2.0}) == 1


def test_slow_models_take_one_pass_to_begin_with_and_three_that_count(monkeypatch):
    for limit in ("_BUDGET_S", "_MOST_ROUND_S", "_TURN_S"):  # every pass is a slow one
        monkeypatch.setattr(latency, limit, 0.0)
    models = {"parent": Counted(), "child": Counted()}
    threads = torch.get_num_threads()
    seconds = latency.measure_latency(models, num_threads=1)
    assert {model.passes for model in models.values()} == {4}
    assert all(value > 0 for value in seconds.values())
    assert torch.get_num_threads() == threads
