"""One-shot scores of a tiny model, in this process."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from qa_lib import models
from qa_lib.adjust import Sizes
from qa_lib.adjust.divergence import Reference
from qa_lib.config import AdjustSettings
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search.journal import Journal
from qa_lib.search.scoring import Scorer, ScoringTask, load_scorer
from tests.support.adjust_models import windows

WIDTHS = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 24}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ScoringTask:
    folder = str(tmp_path_factory.mktemp("parent") / "model")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64,
        num_hidden_layers=3,
        max_position_embeddings=40,
        initializer_range=0.2,
        **WIDTHS,
    )
    models.save(BertForQuestionAnswering(config), models.load_tokenizer("embedded"), folder)
    batches = [windows(seed=1), windows(seed=2)]
    return ScoringTask(folder, AdjustSettings(), 0, "cpu", batches, batches)


class Alone:
    """A crew of this process."""

    def __init__(self, task: ScoringTask) -> None:
        self._work = load_scorer(task, 1)
        self.num_scored = 0

    def run(self, tasks, **_):
        for each in tasks:
            self.num_scored += each.num_rows
            yield self._work(each)


def test_less_cut_is_nearer_and_nothing_is_scored_twice(task: ScoringTask, tmp_path: Path):
    crew = Alone(task)
    whole = Sizes((0, 1, 2), 32, 4, 24)
    sizes = [replace(whole, intermediate_size=width) for width in (4, 8, 12, 16, 20)]
    score = Scorer(crew, Journal(RunFolder(str(tmp_path), "tune")))
    found = score([*sizes, whole, sizes[0]])
    assert found[0] == found[-1] > found[4] > found[5]
    assert abs(found[5]) < 1e-3  # the parent itself
    assert crew.num_scored == 6
    resumed = Scorer(crew, Journal(RunFolder(str(tmp_path), "tune")))
    assert resumed(sizes) == found[:5] and crew.num_scored == 6
    assert max(resumed(sizes, "agreement")) <= 1.0 and crew.num_scored == 6, "one cut gives both"


def test_a_table_of_sizes_gets_a_score_for_each(task: ScoringTask):
    sizes = [Sizes((0, 2), 24, 3, 16), Sizes((1,), 32, 4, 24)]
    table = pa.table({"sizes": [json.dumps(asdict(each)) for each in sizes]})
    found = load_scorer(task, 1)(table).to_pydict()
    assert len(found["divergence"]) == 2 and min(found["divergence"]) > 0
    assert all(0.0 <= each <= 1.0 for each in found["agreement"]) and len(found["agreement"]) == 2


def test_logits_that_are_not_finite_come_last(
    task: ScoringTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Reference, "compare", lambda *_: (float("nan"), float("nan")))
    score = Scorer(Alone(task), Journal(RunFolder(str(tmp_path), "tune")))
    cut = [Sizes((0, 1, 2), 32, 4, 4)]
    assert score(cut) == [1e6]
    resumed = Journal(RunFolder(str(tmp_path), "tune")).scores
    assert resumed == {"divergence": {cut[0]: 1e6}, "agreement": {cut[0]: 0.0}}
