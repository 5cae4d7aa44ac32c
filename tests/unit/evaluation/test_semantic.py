"""The semantic score on written pairs, and the encoder against a plain restatement."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from benchmarks import _evidence
from qa_lib import models
from qa_lib.errors import ModelError
from qa_lib.evaluation.analysis import semantic
from qa_lib.evaluation.analysis.semantic import Encoder, similarity


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder("embedded")


def test_the_figures_of_docs_results_scores_md(encoder):
    """Values decide all numbers and dates; the cosine is weaker on the rest."""
    assert len(_evidence.PAIRS) == 50
    assert _evidence.aucs(encoder) == pytest.approx(
        {
            "semantic, without numbers and dates": 0.79,
            "semantic, numbers and dates": 1.0,
            "semantic, all": 0.90,
            "cosine without values, all": 0.67,
            "token F1, all": 0.36,
        },
        abs=0.0051,
    )
    page = Path(__file__).parents[3] / "docs" / "results" / "scores.md"
    stated = page.read_text(encoding="utf-8")
    rows = _evidence.inversions(encoder)
    assert len(rows) == 7 and all(row in stated for row in rows)


def test_the_best_gold_counts_and_texts_need_not_repeat(encoder):
    answers = ["cars", "cars", "", "1990", "cars"]
    golds = [["automobiles", "ships"], ["ships"], ["cars"], ["1991", "the war"], ["cars"]]
    found = similarity(answers, golds, encoder)
    alone = [similarity([a], [g], encoder)[0] for a, g in zip(answers, golds, strict=True)]
    assert found == pytest.approx(alone, abs=1e-5)
    assert found[0] > 0.8 > found[1] > 0 and found[2] == 0 and found[4] == 1
    assert found[3] < 0.5  # 1991 is wrong; "the war" is merely unlike it
    assert similarity(["1990"], [["1991"]], encoder)[0] == 0


def test_batches_embed_as_single_unpadded_texts_do(encoder):
    texts = ["cars", "the head of the Catholic Church", "a", "rain " * 300]
    tokenizer, model = models.load_tokenizer("embedded"), encoder._model._model
    expected = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            mean = model(**inputs).last_hidden_state[0].mean(dim=0)
        expected.append((mean / mean.norm()).numpy())
    assert encoder._model.max_seq_length == 256
    np.testing.assert_allclose(encoder.embed(texts), expected, atol=1e-5)


def saved(path: Path, pooling: str) -> SentenceTransformer:
    """Save the embedded encoder as sentence-transformers does, with another pooling."""
    embedded = SentenceTransformer(models.resolve("embedded"), device="cpu")
    parts = [embedded[0], Pooling(384, pooling_mode=pooling)]
    made = SentenceTransformer(modules=parts, device="cpu")
    made.save(str(path), create_model_card=False)
    return made


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_what_sentence_transformers_saves_is_an_encoder_with_its_own_pooling(tmp_path, pooling):
    made = saved(tmp_path / "saved", pooling)
    assert semantic.find(str(tmp_path / "saved")) == tmp_path / "saved"
    found = Encoder(str(tmp_path / "saved")).embed(["the red cars"])[0]
    tokens = made.tokenizer("the red cars", return_tensors="pt")
    with torch.inference_mode():
        states = made[0].auto_model(**tokens).last_hidden_state[0]
    pooled = {"mean": states.mean(0), "cls": states[0], "max": states.max(0).values}[pooling]
    np.testing.assert_allclose(found, pooled / pooled.norm(), atol=1e-5)


DAMAGES = {
    "no weights": "no \\*.safetensors",
    "torn weights": "does not load",
    "torn pooling": "does not load",
    "torn modules": "damaged",
    "code of its own": "does not load",
    "pickled dense layer": "pickled",
    "no encoder": "no sentence encoder",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_torn_or_no_encoder_is_refused(tmp_path, damage):
    copy = shutil.copytree(models.resolve("embedded"), tmp_path / "copy")
    modules = json.loads((copy / "modules.json").read_text())
    if damage == "no weights":
        (copy / "model.safetensors").unlink()
    elif damage == "torn weights":
        with (copy / "model.safetensors").open("r+b") as file:
            file.truncate(1000)
    elif damage == "torn pooling":
        (copy / "1_Pooling" / "config.json").write_text("{")
    elif damage == "torn modules":
        (copy / "modules.json").write_text("{")
    elif damage == "code of its own":
        (copy / "own.py").write_text("raise SystemExit('it ran')")
        modules.append({"idx": 3, "name": "3", "type": "own.Module", "path": "3_Own"})
    elif damage == "pickled dense layer":
        (copy / "3_Dense").mkdir()
        (copy / "3_Dense" / "pytorch_model.bin").touch()
        modules.append({"type": "sentence_transformers.models.Dense", "path": "3_Dense"})
    else:
        (copy / "modules.json").unlink()
    if len(modules) > 3:
        (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=DAMAGES[damage]) as caught:
        Encoder(str(copy))
    assert "--evaluate.semantic-model" in caught.value.remedy


def test_pairs_that_values_decide_need_no_encoder():
    class Refuses:
        def embed(self, texts: list[str]) -> None:
            raise AssertionError(texts)

    answers, golds = ["1,000", "1991"], [["one thousand", "men"], ["1990"]]
    assert semantic.similarity(answers, golds, Refuses()).tolist() == [1, 0]  # type: ignore[arg-type]
