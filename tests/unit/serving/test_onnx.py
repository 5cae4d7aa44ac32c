"""An exported model computes what PyTorch computes, of any batch and length, without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    NystromformerConfig,
    XLMRobertaConfig,
)

import jobs.export
from qa_lib import config, models
from qa_lib.adjust import probe_batch
from qa_lib.adjust.architecture import changed
from qa_lib.errors import ConfigError, ExportError, ModelError
from qa_lib.serving import Answerer, onnx
from qa_lib.serving.onnx import exporting
from qa_lib.serving.onnx.exporting import LOGIT_TOLERANCE, check_logits
from tests.support import adjust_models, tiny

INPUTS = ["input_ids", "attention_mask"]
WIDTHS = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 200,
}
FAMILIES: dict[str, Any] = {
    name: changed(make(), max_position_embeddings=400)  # every shape that is compared fits
    for name, make in adjust_models.CONFIGS.items()
}


def random_model(settings: Any, scale: float = 0.3) -> Any:
    torch.manual_seed(0)
    return adjust_models.randomised(AutoModelForQuestionAnswering.from_config(settings), scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_exports_to_the_logits_of_pytorch(family: str, tmp_path: Path):
    model = random_model(FAMILIES[family])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attention = model.config._attn_implementation
    onnx.write_onnx(model, tmp_path / "model.onnx", INPUTS)
    exported = onnx.OnnxModel(tmp_path / "model.onnx", model.config)
    assert check_logits(model, exported)[0] < LOGIT_TOLERANCE
    assert not model.training and model.config._attn_implementation == attention
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


def test_other_weights_or_types_are_told_apart(tmp_path: Path):
    model = random_model(FAMILIES["bert"])
    inputs = [*INPUTS, "token_type_ids"]
    onnx.write_onnx(model, tmp_path / "model.onnx", inputs)
    exported = onnx.OnnxModel(tmp_path / "model.onnx", model.config)
    assert check_logits(model, exported)[0] < LOGIT_TOLERANCE
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight[1, 0] += 0.01
    assert check_logits(model, exported)[0] > LOGIT_TOLERANCE


def test_int8_is_smaller_and_near(tmp_path: Path):
    wide = WIDTHS | {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 2000}
    model = random_model(XLMRobertaConfig(**wide), scale=0.1)
    onnx.write_onnx(model, tmp_path / "model.onnx", INPUTS)
    onnx.quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    sizes = [(tmp_path / name).stat().st_size for name in ("model.onnx", "int8.onnx")]
    assert sizes[1] < 0.3 * sizes[0]
    exported = onnx.OnnxModel(tmp_path / "int8.onnx", model.config)
    assert LOGIT_TOLERANCE < check_logits(model, exported)[0] < 0.2


def test_a_family_that_does_not_export_is_refused_by_name(tmp_path: Path):
    settings = NystromformerConfig(num_landmarks=4, segment_means_seq_len=16, **WIDTHS)
    with pytest.raises(ExportError, match="nystromformer"):
        onnx.write_onnx(random_model(settings), tmp_path / "model.onnx", INPUTS)


def with_fixed_shapes(model: Any, path: Path, inputs: list[str]) -> None:
    """Write a graph that takes the shape that it was traced with alone."""
    example = tuple(torch.ones((2, 12), dtype=torch.long) for _ in inputs)
    names = {"input_names": inputs, "output_names": ["start_logits", "end_logits"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, example, str(path), dynamo=False, opset_version=17, **names)


def exported_by(folder: Path, name: str, **flags: str) -> None:
    asked = {"model.name": name, "storage": str(folder / "runs"), "run-name": "run"}
    asked |= {"data.max-length": "128", "data.stride": "32"} | flags
    jobs.export.JOB.execute(
        config.parse(
            "export", [part for key, value in asked.items() for part in (f"--{key}", value)]
        )
    )


def test_a_graph_of_one_shape_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(exporting, "write_onnx", with_fixed_shapes)
    with pytest.raises(ExportError, match="bert do not export"):
        exported_by(tmp_path, tiny.write_model(tmp_path / "model"))
    assert not (tmp_path / "runs" / "run").exists()


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_logits_that_differ_are_refused_and_nothing_is_written(tmp_path: Path, monkeypatch, value):
    true = probe_batch.logits

    def wrong(model: Any, batch: Any) -> Any:
        return true(model, batch) + (value if isinstance(model, onnx.OnnxModel) else 0.0)

    monkeypatch.setattr(probe_batch, "logits", wrong)
    with pytest.raises(ExportError, match="logits differ"):
        exported_by(tmp_path, tiny.write_model(tmp_path / "model"))
    assert not (tmp_path / "runs" / "run").exists()


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_the_job_exports_families_without_torchs_attention(
    family: str, tmp_path: Path, monkeypatch
):
    def at_once(models: dict[str, Any], **_: Any) -> dict[str, float]:
        return dict.fromkeys(models, 0.01)

    monkeypatch.setattr(exporting, "measure_latency", at_once)
    tokenizer = tiny.make_tokenizer()
    settings = changed(FAMILIES[family], vocab_size=len(tokenizer) + 2)
    models.save(random_model(settings), tokenizer, tmp_path / "model")
    flags = {"data.eval-limit": "4", "evaluate.no-answer-threshold": "-1.5"}
    exported_by(tmp_path, str(tmp_path / "model"), **flags)
    assert (tmp_path / "runs/run/model/onnx/model.onnx").exists()
    assert models.no_answer_threshold(str(tmp_path / "runs/run")) == -1.5


def test_windows_longer_than_the_positions_are_refused_first(tmp_path: Path):
    name = tiny.write_model(tmp_path / "model")
    with pytest.raises(ConfigError, match="exceeds the 128 positions"):
        exported_by(tmp_path, name, **{"data.max-length": "384"})
    assert not (tmp_path / "runs" / "run").exists()


def test_more_than_one_file_holds_is_refused_first(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(exporting, "_MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="holds 2 GB"):
        exported_by(tmp_path, tiny.write_model(tmp_path / "model"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a job that exports a tiny model."""
    folder = tmp_path_factory.mktemp("export")
    name = tiny.write_model(folder / "parent")
    model = models.load(name)
    torch.manual_seed(3)
    torch.nn.init.normal_(model.qa_outputs.weight, std=2.0)  # a model with opinions
    models.save(model, models.load_tokenizer(name), name)
    flags = ["--model.name", name, "--storage", str(folder), "--run-name", "run"]
    flags += ["--data.max-length", "128", "--data.stride", "32", "--data.eval-limit", "20"]
    flags += ["--export.quantize"]
    jobs.export.JOB.execute(config.parse("export", flags))
    return folder / "run"


def test_the_run_holds_checkpoint_files_answers_and_figures(run: Path):
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "done"
    assert result["max_logit_error"] <= result["logit_tolerance"]
    assert result["num_questions"] == 20
    assert result["num_same_answers"]["onnx"] == 20
    assert result["f1"] == result["f1_pytorch"]
    assert {"em", "em_int8", "f1_int8", "latency_threads"} <= result.keys()
    shapes = [(each["windows"], each["tokens"]) for each in result["latencies"]]
    assert shapes[:2] == [(1, 128), (1, 128)]  # it has 128 positions
    # A busy machine affords fewer windows.
    assert all(windows in (1, 2, 4, 8, 16, 32) and tokens == 128 for windows, tokens in shapes[2:4])
    assert {each["threads"] for each in result["latencies"]} == {1, result["latency_threads"]}
    assert all(
        each[f"{v}_ms"] > 0 for each in result["latencies"] for v in ("pytorch", "onnx", "int8")
    )
    for name, file in (("onnx", onnx.FLOAT), ("int8", onnx.INT8)):
        assert result[f"{name}_bytes"] == (run / "model" / file).stat().st_size
    assert len(json.loads((run / "predictions.json").read_text())) == 20
    parent = str(run.parent / "parent")
    assert models.fingerprint(str(run)) == models.fingerprint(parent)
    vocabulary = models.load_tokenizer(str(run)).get_vocab()
    assert vocabulary == models.load_tokenizer(parent).get_vocab()


QUESTION = "Who was un-afraid of the bridge?"
CONTEXT = "Ann Lee built the bridge in 1890; she, they say, was afraid of nothing. 日本 is naïve."
ALONE = """
import json, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "qa_lib", "safetensors", "pyarrow"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import numpy as np
import onnxruntime
from tokenizers import Tokenizer
folder, question, context = sys.argv[1:]
encoded = Tokenizer.from_file(f"{folder}/tokenizer.json").encode(question, context)
session = onnxruntime.InferenceSession(
    f"{folder}/onnx/model.onnx", providers=["CPUExecutionProvider"]
)
inputs = {
    "input_ids": encoded.ids,
    "attention_mask": encoded.attention_mask,
    "token_type_ids": encoded.type_ids,
}
assert {each.name for each in session.get_inputs()} == inputs.keys()
start, end = session.run(
    ["start_logits", "end_logits"], {name: np.array([each]) for name, each in inputs.items()}
)
spans = [
    (start[0, first] + end[0, last], first, last)
    for first, of_first in enumerate(encoded.sequence_ids)
    for last, of_last in enumerate(encoded.sequence_ids)
    if of_first == of_last == 1 and first <= last < first + 15
]
_, first, last = max(spans)
print(json.dumps(context[encoded.offsets[first][0] : encoded.offsets[last][1]]))
assert not {"torch", "transformers", "qa_lib"} & set(sys.modules)
"""


def test_a_process_with_onnxruntime_and_tokenizers_alone_gives_the_same_answer(run: Path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(run / "model"), QUESTION, CONTEXT],
        cwd=run,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = Answerer(str(run))(QUESTION, CONTEXT, align_to_words=False)
    assert json.loads(done.stdout) == answer["answer"]


def test_an_encoder_is_not_exported(tmp_path: Path):
    settings = config.parse("export", ["--storage", str(tmp_path), "--run-name", "none"])
    with pytest.raises(ModelError, match="never trained to answer"):
        jobs.export.JOB.execute(settings)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_what_would_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = tiny.write_model(tmp_path / "model")
    flags = ["--model.name", name, "--storage", str(tmp_path / "runs"), "--dry-run", "json"]
    flags += ["--data.max-length", "128", "--data.stride", "32"]
    jobs.export.JOB.execute(config.parse("export", flags))
    printed = capsys.readouterr().out
    assert "onnx/model.onnx" in printed and "int8" not in printed.split("files")[1]
    assert '"num_questions": 540' in printed
    assert not (tmp_path / "runs").exists()
