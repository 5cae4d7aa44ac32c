"""Model folders that are damaged, or built to do harm, are refused by name within seconds."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa_lib import models
from qa_lib.errors import ModelError, UserError
from tests.support import tiny

Damage = Callable[[Path], Any]


def config(**fields: Any) -> Damage:
    return lambda folder: edit(folder / "config.json", fields)


def tokenizer(**fields: Any) -> Damage:
    return lambda folder: edit(folder / "tokenizer.json", fields)


def edit(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def content(name: str, text: str | bytes) -> Damage:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / name).write_bytes(data)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size // 2)


def header(values: Any) -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text + b"0000"


def pattern(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


_LIE = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}
_DEEP = "[" * 100_000
WEIGHTS = {
    "truncated": truncate,
    "empty": content("model.safetensors", b""),
    "length": content("model.safetensors", struct.pack("<Q", 2**62) + b"{}"),
    "shape": content("model.safetensors", header(_LIE)),
    "nested": content("model.safetensors", struct.pack("<Q", len(_DEEP)) + _DEEP.encode()),
}
CONFIGS = {
    "text": config(num_hidden_layers="two"),
    "list": config(hidden_size=[1]),
    "zero heads": config(num_attention_heads=0),
    "negative": config(hidden_size=-16),
    "bitsandbytes": config(quantization_config={"quant_method": "bitsandbytes"}),
    "quantised": config(quantization_config="x"),
    "ten million layers": config(num_hidden_layers=10_000_000),
    "labels": config(num_labels=10**9),
    "huge": config(hidden_size=2**40),
    "vocabulary": config(vocab_size=2**50),
    "positions": config(max_position_embeddings=10**11),
    "type": config(model_type=["bert"]),
    "activation": config(hidden_act="nope"),
    "padding": config(pad_token_id=10**9),
    "id2label": config(id2label=[1]),
    "dropout": config(hidden_dropout_prob=7.0),
    "dtype": config(dtype=7),
    "attention": config(attn_implementation="flash_attention_2"),
    "no list": config(_attn_implementation=["x"]),
    "ragged": config(model_type="qa-suite-ragged", qa_suite_ragged=7),
    "nested": content("config.json", '{"a":' + _DEEP + "]" * 100_000 + "}"),
    "digits": content("config.json", '{"model_type":"bert","a":' + "9" * 10_000 + "}"),
    "no object": content("config.json", "[]"),
    "no text": content("config.json", b"\xff\xfe{}"),
}
BEYOND = {
    **{"id": 10**6, "content": "[NEW]", "single_word": False, "lstrip": False, "rstrip": False},
    **{"normalized": False, "special": False},
}
TOKENIZERS = {
    "pattern": tokenizer(pre_tokenizer=pattern("((([")),
    "list": content("tokenizer.json", "[]"),
    "model": tokenizer(model=7),
    "nested": content("tokenizer.json", _DEEP),
    "settings": content("tokenizer_config.json", "[]"),
    "nested settings": content("tokenizer_config.json", _DEEP),
    "class": content("tokenizer_config.json", '{"tokenizer_class":7}'),
    "padding": content("tokenizer_config.json", '{"pad_token":{"a":1}}'),
    "specials": content("special_tokens_map.json", "[]"),
    "ids beyond the vocabulary": config(vocab_size=5),
    "an added id beyond it": lambda folder: edit(
        folder / "tokenizer.json", {"added_tokens": [BEYOND]}
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.write_model(tmp_path_factory.mktemp("models") / "good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "hostile"))


def refused(action: Callable[[str], Any], folder: Path) -> None:
    started = time.process_time()
    with pytest.raises(ModelError) as caught:
        action(str(folder))
    assert time.process_time() - started < 5
    assert "hostile" in caught.value.problem and caught.value.remedy


@pytest.mark.parametrize("case", WEIGHTS)
def test_hostile_weights_are_refused(folder: Path, case: str):
    WEIGHTS[case](folder)
    refused(models.load, folder)
    refused(models.has_answering_head, folder)
    refused(models.num_stored_parameters, folder)


@pytest.mark.parametrize("case", CONFIGS)
def test_a_hostile_configuration_is_refused(folder: Path, case: str):
    CONFIGS[case](folder)
    refused(lambda name: models.has_answering_head(name) and models.load(name), folder)


@pytest.mark.parametrize("case", TOKENIZERS)
def test_a_hostile_tokenizer_is_refused(folder: Path, case: str):
    TOKENIZERS[case](folder)
    refused(models.load_tokenizer, folder)


def test_what_a_caller_wanted_of_the_outputs_is_no_part_of_a_model(folder: Path, tmp_path: Path):
    fields = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    config(**fields)(folder)
    model = models.load(str(folder))
    outputs = model(input_ids=torch.tensor([[1, 2, 3]]))
    assert outputs.start_logits.shape == (1, 3) and outputs.hidden_states is None
    models.save(model, models.load_tokenizer(str(folder)), tmp_path / "saved")
    assert models.has_answering_head(str(tmp_path / "saved"))


def test_weights_that_are_no_safetensors_are_named_as_such(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for action in (models.load, models.check_answers):
        with pytest.raises(ModelError, match="safetensors"):
            action(str(folder))


def test_a_part_of_the_weights_that_is_missing_is_named(folder: Path):
    places = {"qa_outputs.weight": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for action in (models.load, models.has_answering_head):
        with pytest.raises(ModelError, match="lacks model-00002-of-00002.safetensors"):
            action(str(folder))


def test_a_command_says_it_in_two_lines(folder: Path):
    truncate(folder)
    command = [sys.executable, "-m", "jobs.answer", "--model.name", str(folder)]
    command += ["--answer.question", "Who?", "--answer.context", "Ann."]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "is damaged" in done.stderr


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
_FIELDS = [
    "model_type", "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size",
    "vocab_size", "pad_token_id", "dtype", "layer_norm_eps", "hidden_act", "id2label", "label2id",
    "num_labels", "architectures", "max_position_embeddings", "qa_suite_ragged",
]  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(_FIELDS), _values, min_size=1, max_size=3))
def test_any_configuration_loads_or_is_refused(good: Path, folder: Path, fields: dict[str, Any]):
    shutil.copy(good / "config.json", folder)
    edit(folder / "config.json", fields)
    for action in (models.has_answering_head, models.load, models.load_tokenizer):
        try:
            action(str(folder))
        except UserError as error:
            assert error.remedy
