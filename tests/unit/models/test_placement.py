"""A model answers the same wherever its weights lie."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import BertForQuestionAnswering

from qa_lib import config, models, windows
from qa_lib.data import embedded
from qa_lib.errors import ConfigError
from qa_lib.models import inference
from qa_lib.models import placement as placements
from qa_lib.models.inference import Forward
from tests.support import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a model of many small layers: accelerate reserves room for the largest part."""
    name = tiny.write_model(tmp_path_factory.mktemp("tiny"))
    settings = models.load_config(name)
    settings.num_hidden_layers, settings.intermediate_size = 8, 128
    torch.manual_seed(1)
    models.save(BertForQuestionAnswering(settings), models.load_tokenizer(name), name)
    return name


@pytest.fixture(scope="module")
def single(model: str) -> Forward:
    return Forward(model, precision="fp32")


@pytest.fixture(scope="module")
def table(single: Forward) -> pa.Table:
    rows = embedded.corpus("eval").slice(0, 20)
    return windows.build(rows, single.tokenizer, windows.WindowSpec(96, 24)).table


def test_windows_as_long_as_the_models_positions_are_answered(model: str, tmp_path: Path):
    settings = models.load_config(model)
    settings.max_position_embeddings = 45  # no multiple of what padding is rounded to
    torch.manual_seed(1)
    short = str(tmp_path / "short")
    models.save(BertForQuestionAnswering(settings), models.load_tokenizer(model), short)
    forward = Forward(short, precision="fp32")
    rows = embedded.corpus("eval").slice(0, 3)
    table = windows.build(rows, forward.tokenizer, windows.WindowSpec(45, 12)).table
    counts = [len(part) for part, *_ in forward(table)]
    assert sum(counts) == table.num_rows and max(table["length"].to_pylist()) == 45


def places_of(forward: Forward) -> set[str]:
    """Return where the weights lie: `meta` stands for what comes from elsewhere when it is used."""
    return {parameter.device.type for parameter in forward.model.parameters()}


@pytest.mark.parametrize(
    ("placement", "max_memory", "places"),
    [
        ("cpu", None, {"meta"}),
        ("disk", None, {"meta"}),
        ("auto", None, {"cpu"}),
        ("auto", ["cpu=150KB"], {"cpu", "meta"}),
        ("auto", ["cpu=1KB"], {"meta"}),
    ],
)
def test_logits_are_the_same_wherever_the_weights_lie(
    model, single, table, tmp_path, monkeypatch, placement, max_memory, places
):
    monkeypatch.setattr(placements.tempfile, "tempdir", str(tmp_path))
    placed = Forward(model, precision="fp32", placement=placement, max_memory=max_memory)
    assert places_of(placed) == places
    on_disk = [path for path in tmp_path.rglob("*.dat") if path.stat().st_size]
    assert bool(on_disk) == (placement == "disk" or max_memory is not None)
    for expected, found in zip(single(table), placed(table), strict=True):
        assert found[0].equals(expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[2], expected[2])
    del placed, found
    gc.collect()
    assert list(Path(tmp_path).iterdir()) == []


def test_limits_are_read_as_accelerate_takes_them():
    limits = placements._limits(["0=10GiB", "1=0.5GiB", "cpu=30GB"])
    assert limits == {0: "10GiB", 1: "0.5GiB", "cpu": "30GB"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model.max-memory", "10GiB"], "0=10GiB or cpu=30GiB"),
        (["--model.max-memory", "cpu=1GiB"], "needs model.placement auto"),
        (["--model.placement", "gpu"], "'single', 'auto', 'cpu' or 'disk'"),
    ],
)
def test_what_cannot_be_placed_is_refused(flags, words):
    with pytest.raises(ConfigError, match=words):
        config.parse("evaluate", flags)


@pytest.mark.parametrize("casts", [False, True])
def test_short_passes_in_bf16_answer_as_one_pass_in_fp32(model, single, table, casts, monkeypatch):
    monkeypatch.setattr(inference, "_PASS_TOKENS", 10**6)
    ((whole, expected, _),) = single(table)
    monkeypatch.setattr(inference, "_PASS_TOKENS", 200)
    found = list(Forward(model, precision="bf16", casts=casts)(table))
    assert len(found) > 4 and pa.concat_tables(rows for rows, *_ in found).equals(whole)
    first = 0
    for rows, starts, _ in found:
        assert starts.dtype == np.float32 and starts.max() < np.inf
        real = np.isfinite(starts)
        wanted = expected[first : first + len(rows), : starts.shape[1]]
        # A value has eight binary digits; some ten roundings lie between tokens and logits.
        assert np.linalg.norm(starts[real] - wanted[real]) < 10 * 2**-9 * np.linalg.norm(
            wanted[real]
        )
        first += len(rows)
