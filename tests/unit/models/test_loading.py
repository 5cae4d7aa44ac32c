"""What is loaded is proved: all of the file is in the model, and all of the model from the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForQuestionAnswering, RobertaConfig

from qa_lib import models, windows
from qa_lib.errors import ModelError
from qa_lib.models.interface import Interface
from tests.support import tiny

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.write_model(tmp_path_factory.mktemp("models") / "good", num_layers=2))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def rewrite(folder: Path, change: Callable[[Weights], Weights], **config: object) -> str:
    file = folder / "model.safetensors"
    tensors = {key: tensor.clone() for key, tensor in change(load_file(file)).items()}
    save_file(tensors, file, {"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return str(folder)


def renamed(pattern: str) -> Callable[[Weights], Weights]:
    return lambda weights: {pattern.format(key): tensor for key, tensor in weights.items()}


def inner(weights: Weights) -> Weights:
    return {key.replace("layer.1.", "layer._orig_mod.1."): each for key, each in weights.items()}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    "change",
    [
        renamed("_orig_mod.{}"),
        renamed("module.{}"),
        renamed("module._orig_mod.{}"),
        renamed("_fsdp_wrapped_module.{}"),
        renamed("model.{}"),
        inner,
    ],
)
def test_weights_saved_inside_wrappers_are_those_of_the_model(good, folder, change):
    name = rewrite(folder, change)
    assert models.has_answering_head(name)
    loaded = models.load(name)
    assert same(loaded, models.load(str(good)))
    models.save(loaded, models.load_tokenizer(name), folder / "again")
    assert "bert.embeddings.word_embeddings.weight" in load_file(folder / "again/model.safetensors")


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: each for key, each in weights.items() if part not in key}


@pytest.mark.parametrize(
    ("change", "config", "words"),
    [
        (without("layer.1."), {}, "16 tensors of the model are not in the file .*layer.1"),
        (without("layer.0.output.dense.bias"), {}, "1 tensors of the model are not in the file"),
        (dict, {"num_hidden_layers": 1}, "16 tensors of the file have no place .*layer.1"),
        (dict, {"num_hidden_layers": 3}, "16 tensors of the model are not in the file .*layer.2"),
        (dict, {"vocab_size": 700}, "other shapes .*word_embeddings"),
        (renamed("student.{}"), {}, "not in the file"),
        (lambda some: renamed("a.{}")(some) | renamed("module.a.{}")(some), {}, "not in the file"),
    ],
)
def test_a_part_that_is_missing_or_too_much_is_named(folder, change, config, words):
    with pytest.raises(ModelError, match=words) as caught:
        models.load(rewrite(folder, change, **config))
    assert "config.json" in caught.value.remedy


def test_an_encoder_keeps_its_weights_whatever_head_it_had(good, folder):
    def as_encoder(weights: Weights) -> Weights:
        inside = {key[5:]: each for key, each in weights.items() if key.startswith("bert.")}
        pooler = {"pooler.dense.weight": torch.zeros(16, 16), "pooler.dense.bias": torch.zeros(16)}
        return inside | pooler | {"cls.predictions.bias": torch.zeros(3)}

    name = rewrite(folder, as_encoder)
    assert same(models.load(name).bert, models.load(str(good)).bert)
    assert not models.has_answering_head(name)
    with pytest.raises(ModelError, match="never trained to answer"):
        models.check_answers(name)


@pytest.mark.parametrize("num_labels", [1, 3])
def test_a_head_of_other_labels_is_drawn_anew(folder, num_labels):
    labels = {str(number): f"L{number}" for number in range(num_labels)}

    def with_labels(weights: Weights) -> Weights:
        head = {"weight": torch.ones(num_labels, 16), "bias": torch.ones(num_labels)}
        return weights | {f"qa_outputs.{key}": tensor for key, tensor in head.items()}

    name = rewrite(folder, with_labels, id2label=labels)
    assert not models.has_answering_head(name)
    model = models.load(name)
    assert model.config.num_labels == 2 and model.qa_outputs.weight.shape == (2, 16)
    assert not (model.qa_outputs.weight == 1).all()
    assert model(torch.tensor([[2, 9, 3]])).start_logits.shape == (1, 3)


def test_a_head_that_is_there_in_part_does_not_answer(folder):
    assert not models.has_answering_head(rewrite(folder, without("qa_outputs.bias")))


# --- what a model takes, and its tokenizer gives --------------------------------------------------


def test_the_tokenizer_pads_on_the_right(folder):
    tokenizer = models.load_tokenizer(str(folder))
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder)
    again = models.load_tokenizer(str(folder))
    assert again.padding_side == "right"
    padded = again(["a b c", "a"], padding=True)["attention_mask"]
    assert padded[1][0] == 1 and padded[1][-1] == 0


def test_a_model_with_one_token_type_gets_no_types(tmp_path):
    tokenizer = tiny.make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, type_vocab_size=1,
    )  # fmt: skip
    models.save(BertForQuestionAnswering(config), tokenizer, tmp_path)
    own = models.load_tokenizer(str(tmp_path))
    assert not windows.PadSpec.of(own).token_types
    assert "token_type_ids" not in own("a", "b")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder):
    tokenizer = models.load_tokenizer(str(folder))
    tokenizer.add_tokens(["brandnewtoken"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="embeddings for") as caught:
        models.load_tokenizer(str(folder))
    assert "resize" in caught.value.remedy


def test_positions_are_counted_from_the_padding_where_the_model_does():
    config = RobertaConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=40, pad_token_id=5,
    )  # fmt: skip
    with torch.device("meta"):
        takes = Interface.of(models.build(config))
    assert takes.max_length == models.maximum_length(config) == 34
    assert takes.positions_follow_padding


# --- the threshold of "no answer" -----------------------------------------------------------------


def test_a_threshold_stays_with_its_model(folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder, run / "model")
    assert models.no_answer_threshold(str(run)) is None
    before = models.fingerprint(str(run))
    assert models.keep_no_answer_threshold(str(run), -1.25, num_questions=7)
    assert json.loads((run / "model" / models.ANSWERING).read_text()) == {
        "no_answer_threshold": -1.25,
        "num_questions": 7,
    }
    assert models.no_answer_threshold(str(run)) == -1.25
    assert models.num_threshold_questions(str(run)) == 7
    assert models.no_answer_threshold(str(run / "model")) == -1.25
    assert models.fingerprint(str(run)) == before
    assert not models.keep_no_answer_threshold("embedded", 0.0)
    assert models.no_answer_threshold("embedded") is None


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"no_answer_threshold": "high"}'),
        f'{{"no_answer_threshold": 1{"0" * 400}}}',
        '{"no_answer_threshold": 1, "num_questions": [8]}',
    ],
)
def test_a_damaged_threshold_is_refused(folder, text):
    (folder / models.ANSWERING).write_text(text)
    with pytest.raises(ModelError, match="no_answer_threshold"):
        models.no_answer_threshold(str(folder))


def test_a_model_of_a_half_precision_configuration_is_built_in_float32(folder: Path):
    name = rewrite(folder, lambda weights: weights, dtype="float16")
    for model in (models.load(name), models.build(models.load_config(name))):
        assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
