"""Models: where they come from, what is rejected, and that saving and loading change nothing."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

import fsspec
import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForQuestionAnswering,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from qa_lib import models
from qa_lib.errors import ModelError
from qa_lib.models import sources

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
FAMILIES = [
    BertConfig(**SMALL),
    RobertaConfig(**SMALL),
    XLMRobertaConfig(**SMALL),
    MPNetConfig(**SMALL),
    ElectraConfig(embedding_size=8, **SMALL),
    DistilBertConfig(
        vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=24, max_position_embeddings=20
    ),
]


def write(folder: Path, config, seed: int = 0) -> Path:
    """Write a random model with the embedded model's tokenizer."""
    torch.manual_seed(seed)
    model = AutoModelForQuestionAnswering.from_config(config)
    models.save(model, models.load_tokenizer("embedded"), folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "bert", BertConfig(**SMALL))


def same(model, other) -> bool:
    weights, others = model.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(
        torch.equal(weights[name], others[name]) for name in weights
    )


# --- the embedded model --------------------------------------------------------------------------


def test_the_embedded_model_is_minilm():
    assert models.describe(models.load_empty("embedded")) == {
        "family": "bert",
        "num_layers": 6,
        "num_heads": 12,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "vocabulary_size": 30522,
        "num_parameters": 22_566_146,
    }


def test_a_head_that_the_checkpoint_lacks_is_drawn_from_the_seed_alone():
    torch.manual_seed(1)
    first = models.load("embedded", seed=7)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    assert same(models.load("embedded", seed=7), first)
    other = models.load("embedded", seed=8)
    assert not torch.equal(other.qa_outputs.weight, first.qa_outputs.weight)
    assert torch.equal(
        other.bert.encoder.layer[0].output.dense.weight,
        first.bert.encoder.layer[0].output.dense.weight,
    )
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)  # the caller's random numbers are its own


def test_the_embedded_tokenizer_cuts_nothing_off():
    # As published it truncates at 128 tokens, silently.
    tokenizer = models.load_tokenizer("embedded")
    assert len(tokenizer("word " * 900)["input_ids"]) == 902
    assert tokenizer.is_fast


def test_other_bytes_than_the_published_ones_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "counterfeit_minilm"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model/model.safetensors").write_bytes(b"not the published weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "EMBEDDED_PACKAGE", "counterfeit_minilm")
    sources._embedded_folder.cache_clear()
    with pytest.raises(ModelError, match=sources.EMBEDDED_SHA256):
        models.resolve("embedded")
    monkeypatch.setattr(sources, "EMBEDDED_PACKAGE", "no_such_minilm")
    with pytest.raises(ModelError, match="not installed") as caught:
        models.resolve("embedded")
    assert "make setup" in caught.value.remedy


# --- folders, runs, URLs, the hub ----------------------------------------------------------------


def test_saving_and_loading_changes_no_bit(folder, tmp_path):
    model = models.load(str(folder))
    assert not model.training
    models.save(model, models.load_tokenizer("embedded"), tmp_path / "copy")
    assert same(models.load(str(tmp_path / "copy")), model)
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


def test_given_weights_are_written_in_place_of_the_models_own(folder, tmp_path):
    model = models.load(str(folder))
    weights = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    models.save(model, models.load_tokenizer("embedded"), tmp_path / "zeros", state_dict=weights)
    loaded = models.load(str(tmp_path / "zeros"))
    assert not any(tensor.any() for tensor in loaded.state_dict().values())


def test_a_run_folder_stands_for_its_model(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run/model")
    (tmp_path / "run/config.yaml").touch()
    assert models.resolve(str(tmp_path / "run")) == str(tmp_path / "run/model")


@pytest.mark.parametrize("below", ["", "/model"])
def test_a_model_at_a_url_is_fetched(folder, below):
    url = f"memory://{uuid.uuid4().hex}/run"
    filesystem, root = fsspec.core.url_to_fs(url)
    for path in folder.iterdir():
        filesystem.pipe(f"{root}{below}/{path.name}", path.read_bytes())
    assert same(models.load(url), models.load(str(folder)))
    assert models.resolve(url) == models.resolve(url)  # fetched once


def test_what_is_no_model_is_refused_with_the_alternatives(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, problem in {
        str(tmp_path / "empty"): "config.json",
        str(tmp_path / "missing"): "no model folder",
        "./missing": "no model folder",
        "a/b/c": "no model folder",
        f"memory://{uuid.uuid4().hex}/nothing": "no model",
    }.items():
        with pytest.raises(ModelError, match=problem) as caught:
            models.load(name)
        assert "embedded" in caught.value.remedy


def test_a_hub_that_does_not_answer_is_an_error_and_no_wait(monkeypatch, tmp_path):
    from huggingface_hub import constants

    # Nobody listens on the discard port of this machine.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="someone/model is not available") as caught:
        models.load("someone/model")
    assert "embedded" in caught.value.remedy


# --- what must not load --------------------------------------------------------------------------


def test_pickled_weights_are_not_read(folder):
    model = models.load(str(folder))
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        models.load(str(folder))
    with pytest.raises(ModelError, match="safetensors"):
        models.fingerprint(str(folder))


def test_code_beside_the_weights_is_not_run(folder, tmp_path):
    marker = tmp_path / "marker"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {
            "AutoConfig": "evil.Config",
            "AutoModelForQuestionAnswering": "evil.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        models.load(str(folder))
    assert not marker.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "other shapes"])
def test_damaged_weights_are_refused(folder, damage):
    path = folder / "model.safetensors"
    if damage == "other shapes":
        config = json.loads((folder / "config.json").read_text()) | {"intermediate_size": 32}
        (folder / "config.json").write_text(json.dumps(config))
    else:
        os.truncate(path, path.stat().st_size // 2 if damage == "truncated" else 0)
    with pytest.raises(ModelError, match="does not load|is damaged"):
        models.load(str(folder))


def test_a_broken_configuration_is_refused(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError):
        models.load(str(folder))


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelError, match="vit model"):
        models.load(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        models.load_tokenizer(str(folder))


# --- what is known of a model --------------------------------------------------------------------


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
def test_the_maximum_length_is_the_longest_window_that_runs(config):
    longest = models.maximum_length(config)
    model = AutoModelForQuestionAnswering.from_config(config).eval()
    with torch.no_grad():
        assert model(torch.full((1, longest), 7)).start_logits.shape == (1, longest)
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 7))


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
def test_dropout_is_set_everywhere(tmp_path, config):
    folder = write(tmp_path / "model", config)
    model = models.load(str(folder), dropout=0.25)
    used = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert used == {0.25}
    kept = models.load(str(folder))
    assert {m.p for m in kept.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}


def test_an_empty_model_has_shapes_and_no_weights(folder):
    empty, real = models.load_empty(str(folder)), models.load(str(folder))
    assert all(parameter.is_meta for parameter in empty.parameters())
    shapes = {name: tensor.shape for name, tensor in empty.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in real.state_dict().items()}
    assert models.num_parameters(empty) == models.num_parameters(real)


def test_layers_that_share_weights_count_once():
    sizes = SMALL | {"embedding_size": 8, "num_hidden_layers": 3}
    three = AutoModelForQuestionAnswering.from_config(AlbertConfig(**sizes))
    one = AutoModelForQuestionAnswering.from_config(
        AlbertConfig(**sizes | {"num_hidden_layers": 1})
    )
    assert models.num_parameters(three) == models.num_parameters(one)


def test_matrix_parameters_are_those_a_token_meets(folder):
    # Four attention matrices, two of the feed-forward layer, and the head's.
    expected = 4 * 16 * 16 + 2 * 16 * 24 + 2 * 16
    assert models.num_matrix_parameters(models.load_empty(str(folder))) == expected


def test_weights_have_the_requested_type(folder):
    assert models.load(str(folder)).dtype == torch.float32
    assert models.load(str(folder), dtype=torch.bfloat16).dtype == torch.bfloat16


def test_the_fingerprint_is_of_weights_and_configuration(folder, tmp_path):
    original = models.fingerprint(str(folder))
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (copy / "README.md").write_text("a card changes no model")
    assert models.fingerprint(str(copy)) == original
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    changed = models.fingerprint(str(copy))
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert len({original, changed, models.fingerprint(str(copy))}) == 3
