"""Every adjustable family goes the whole way: windows, a training step, answers."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from qa_lib import models, windows
from qa_lib.adjust import FAMILIES
from qa_lib.adjust.calibrate import model_inputs
from qa_lib.data import SCHEMA, embedded
from qa_lib.serving import Answerer
from qa_lib.training.losses import window_losses
from tests.support.tiny_tokenizers import MAKE, tiny_with, tokenizer

QUESTIONS = embedded.corpus("eval").slice(0, 6).cast(SCHEMA)


def batch_of(family: str) -> dict[str, torch.Tensor]:
    own = tokenizer(family)
    longest = models.maximum_length(tiny_with(family).config)
    assert longest == 128
    table = windows.build(QUESTIONS, own, windows.WindowSpec(longest, 32), characters=False).table
    assert max(windows.lengths(table)) == longest, "no window reaches the last position"
    return windows.collate(table, windows.PadSpec.of(own))


def test_every_family_has_a_tokenizer_here():
    assert set(MAKE) == set(FAMILIES)


@pytest.mark.parametrize("family", MAKE)
def test_a_step_on_full_windows_lowers_their_loss(family: str):
    batch, student = batch_of(family), copy.deepcopy(tiny_with(family))
    takes_types = family in (
        "bert",
        "deberta-v2",
        "electra",
    )  # of ALBERT, transformers 5 asks for none
    assert ("token_type_ids" in batch) == takes_types
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)

    def loss() -> torch.Tensor:
        output = student(**model_inputs(batch))
        return window_losses(output.start_logits, output.end_logits, batch).mean()

    before = loss()
    before.backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    optimizer.step()
    assert loss() < before


@pytest.mark.parametrize("family", MAKE)
def test_it_answers_with_a_span_of_the_context(family: str, tmp_path: Path):
    models.save(tiny_with(family), tokenizer(family), tmp_path)
    row = QUESTIONS.to_pylist()[0]
    answer = Answerer(str(tmp_path), num_threads=1)(row["question"], row["context"])
    assert answer["answer"]
    assert row["context"][answer["start"] : answer["end"]] == answer["answer"]
