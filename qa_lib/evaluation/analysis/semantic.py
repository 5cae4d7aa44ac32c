"""Semantic similarity of answers: cosine of sentence embeddings, best over the gold answers.

    encoder = semantic.Encoder("embedded")
    semantic.similarity(["the US space agency"], [["NASA"]], encoder)

Numbers and dates are decided by value first (`qa_lib.evaluation.values.agreement`): encoders take
1990 and 1991 for nearly the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib import models
from qa_lib.errors import ModelError
from qa_lib.evaluation.analysis import mean_pooled
from qa_lib.evaluation.values.agreement import Verdict, agree, same_values
from qa_lib.evaluation.values.reading import read
from qa_lib.runs import storage
from qa_lib.runs.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS_PER_UPDATE = 1024
ENCODER_REMEDY = (
    "Give --evaluate.semantic-model `embedded`, a sentence-transformers checkpoint with "
    "safetensors, or none."
)


class Encoder:
    """A sentence encoder, as sentence-transformers reads it, on the CPU."""

    def __init__(self, name: str) -> None:
        """Load the encoder.

        Args:
            name: What `models.resolve` takes.

        Raises:
            ModelError: The encoder is not available, or sentence-transformers cannot load it
                without running its code or unpickling its weights.
        """
        folder = find(name)
        with models.quiet():
            try:
                self._model = mean_pooled.read(folder) or _sentence_transformer(folder)
            except Exception as error:  # the loaders of its modules raise anything
                problem = f"{name} does not load: {storage.first_line(error)}"
                raise ModelError(problem, ENCODER_REMEDY) from None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, each of length 1.

        Texts are cut at the checkpoint's `max_seq_length`.

        Args:
            texts: Any number of them.

        Returns:
            (texts, width) float32.
        """
        order = np.argsort([-len(text) for text in texts], kind="stable")  # batches of like length
        parts = []
        with Progress(len(texts), "texts", "comparing meanings") as progress:
            for first in range(0, len(order), _TEXTS_PER_UPDATE):
                chosen = order[first : first + _TEXTS_PER_UPDATE]
                parts.append(
                    self._model.encode(
                        [texts[index] for index in chosen],
                        normalize_embeddings=True,
                        show_progress_bar=False,
                    )
                )
                progress.update(first + len(chosen))
        sorted_ = np.concatenate(parts)
        embeddings = np.empty_like(sorted_)
        embeddings[order] = sorted_
        return embeddings


def _sentence_transformer(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer  # takes seconds

    return SentenceTransformer(
        str(folder),
        device="cpu",
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )


def find(name: str) -> Path:
    """Return the folder of a sentence encoder, without loading it.

    Args:
        name: What `models.resolve` takes.

    Raises:
        ModelError: There is no such encoder, its `modules.json` is damaged, or weights are missing
            or pickled.
    """
    try:
        folder = Path(models.resolve(name))
    except ModelError as error:
        raise ModelError(error.problem, ENCODER_REMEDY) from None
    if not (folder / "modules.json").is_file():
        problem = f"{name} is no sentence encoder: it has no modules.json."
        raise ModelError(problem, ENCODER_REMEDY)
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        parts = {folder / module["path"]: module["type"].rpartition(".")[2] for module in modules}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ModelError(f"The modules.json of {name} is damaged.", ENCODER_REMEDY) from None
    for part, kind in parts.items():
        if not any(part.glob("*.safetensors")):
            if kind == "Transformer":
                raise ModelError(f"{name} has no *.safetensors weights.", ENCODER_REMEDY)
            if any(part.glob("*.bin")):
                raise ModelError(f"{name} has pickled weights in {part.name}.", ENCODER_REMEDY)
    return folder


def fingerprint(name: str) -> str:
    """Return the SHA-256 of an encoder's settings, tokenizer and weights.

    Raises:
        ModelError: As `find`.
    """
    folder = find(name)
    digest = hashlib.sha256()
    for file in sorted(
        file for kind in ("json", "safetensors") for file in folder.rglob(f"*.{kind}")
    ):
        digest.update(str(file.relative_to(folder)).encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def similarity(
    answers: Sequence[str], golds: Sequence[Sequence[str]], encoder: Encoder
) -> NDArray[np.float64]:
    """Compare each answer with its gold answers.

    Args:
        answers: (questions,) texts.
        golds: (questions,) the gold answers of each question, at least one.
        encoder: Embeds each distinct text once.

    Returns:
        (questions,) float64, 0 to 1, best over the gold answers: 1 or 0 where numbers and dates
        decide, else the cosine, a negative one as 0. An empty text equals only another empty one.

    Source:
        Risch et al. 2021, section 3 (semantic answer similarity, bi-encoder).
    """
    result = np.zeros(len(answers))
    rows: list[int] = []
    pairs: list[tuple[str, str]] = []
    for row, (answer, texts) in enumerate(zip(answers, golds, strict=True)):
        for gold in dict.fromkeys(texts):
            known = _known(gold, answer)
            if known is None:
                rows.append(row)
                pairs.append(_comparable(gold, answer))
            else:
                result[row] = max(result[row], known)
    open_ = [index for index, row in enumerate(rows) if result[row] < 1.0]
    texts_of = [text for index in open_ for text in pairs[index]]
    if not texts_of:
        return result
    distinct = list(dict.fromkeys(texts_of))
    place = {text: index for index, text in enumerate(distinct)}
    embeddings = encoder.embed(distinct)
    left, right = np.array([place[text] for text in texts_of]).reshape(-1, 2).T
    cosines = np.einsum("pd,pd->p", embeddings[left], embeddings[right]).clip(0.0, 1.0)
    np.maximum.at(result, np.array(rows)[open_], cosines)
    return result


def _known(gold: str, answer: str) -> float | None:
    """Return the similarity of a pair that needs no encoder, or None."""
    gold, answer = gold.strip(), answer.strip()
    if gold == answer:
        return 1.0
    if not gold or not answer:
        return 0.0
    verdict = agree(gold, answer)
    return None if verdict is Verdict.OPEN else float(verdict is Verdict.SAME)


def _comparable(gold: str, answer: str) -> tuple[str, str]:
    """Return the texts to embed, values written one way where all of them are equal."""
    if same_values(gold, answer):
        return read(gold).plain, read(answer).plain
    return gold.strip(), answer.strip()
