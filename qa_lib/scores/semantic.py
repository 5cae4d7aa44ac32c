"""How near an answer is in meaning: the cosine of sentence embeddings, best over the gold answers.

    encoder = semantic.Encoder("embedded")
    semantic.similarity(["the US space agency"], [["NASA"]], encoder)

Numbers and dates are decided by value first (`qa_lib.scores.agreement`): encoders take 1990 and
1991 for nearly the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib import model as models
from qa_lib.errors import ModelError
from qa_lib.progress import Progress
from qa_lib.scores import values
from qa_lib.scores.agreement import Verdict, agree, same_values

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_TOKENS_PER_BATCH = 4096
ENCODER_REMEDY = (
    "Give --evaluate.semantic-model `embedded`, a sentence-transformers checkpoint with one "
    "pooling (mean, cls or max), or none."
)


class Encoder:
    """A sentence encoder: a transformer, and how its token vectors become one."""

    def __init__(self, name: str) -> None:
        """Load the encoder, on the CPU.

        Args:
            name: What `model.resolve` takes; `modules.json` and the pooling's config.json say how
                to pool. A checkpoint without them is pooled by the mean.

        Raises:
            ModelError: It cannot be had, has no safetensors, or has a step that is not known.
        """
        from safetensors import SafetensorError
        from transformers import AutoModel

        folder = Path(models.resolve(name))
        self.pooling = pooling_of(folder, name)
        self._tokenizer = models.load_tokenizer(name)
        with models.quiet():
            try:
                self._model = AutoModel.from_pretrained(
                    folder, use_safetensors=True, trust_remote_code=False
                ).eval()
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                problem = f"{name} does not load: {str(error).strip().split(chr(10))[0]}"
                raise ModelError(problem, ENCODER_REMEDY) from None
        limits = [models.maximum_length(self._model.config)]
        for file in folder.glob("sentence_*_config.json"):
            limits.append(json.loads(file.read_text(encoding="utf-8")).get("max_seq_length"))
        self.max_length = min((limit for limit in limits if limit), default=512)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, each of length 1.

        Texts are cut at the checkpoint's `max_seq_length`, and batched by length.

        Args:
            texts: Any number of them.

        Returns:
            (texts, width) float32.
        """
        import torch

        ids = [
            self._tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"]
            for text in texts
        ]
        lengths = np.array([len(each) for each in ids])
        order = np.argsort(-lengths, kind="stable")
        embeddings = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        done = 0
        with Progress(len(texts), "texts", "comparing meanings") as progress:
            while done < len(order):
                size = max(1, _TOKENS_PER_BATCH // int(lengths[order[done]]))
                chosen = order[done : done + size]
                with torch.inference_mode():
                    embeddings[chosen] = self._embed([ids[each] for each in chosen]).numpy()
                done += len(chosen)
                progress.update(done)
        return embeddings

    def _embed(self, ids: list[list[int]]) -> torch.Tensor:
        import torch

        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        mask = batch["attention_mask"]
        states = self._model(
            input_ids=batch["input_ids"], attention_mask=mask
        ).last_hidden_state.float()
        weights = mask[:, :, None].float()
        if self.pooling == "cls":
            first = mask.argmax(dim=1)  # of the real tokens, whatever side is padded
            pooled = states[torch.arange(len(states)), first]
        elif self.pooling == "max":
            pooled = states.masked_fill(weights == 0, -torch.inf).max(dim=1).values
        else:  # a sum over the square root of the length has the same direction as the mean
            pooled = (states * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=1)


def pooling_of(folder: Path, name: str) -> str:
    """Return how a checkpoint pools: mean, cls or max.

    Raises:
        ModelError: It does something else, or more, between tokens and embedding.
    """
    if not (folder / "modules.json").is_file():
        return "mean"
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    pooling = "mean"
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            config = json.loads((folder / module["path"] / "config.json").read_text("utf-8"))
            pooling = _pooling(config, name)
        elif kind not in ("Transformer", "Normalize"):
            raise ModelError(
                f"{name} has the module {kind}, which is not supported.", ENCODER_REMEDY
            )
    return pooling


def _pooling(config: dict[str, Any], name: str) -> str:
    known = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean",
        "pooling_mode_max_tokens": "max",
    }
    chosen = {key for key, value in config.items() if key.startswith("pooling_mode_") and value}
    if len(chosen) != 1 or not chosen <= known.keys():
        raise ModelError(
            f"{name} pools by {', '.join(sorted(chosen)) or 'nothing'}.", ENCODER_REMEDY
        )
    return known[chosen.pop()]


def similarity(
    answers: Sequence[str], golds: Sequence[Sequence[str]], encoder: Encoder
) -> NDArray[np.float64]:
    """Compare each answer with its gold answers.

    Args:
        answers: (questions,) the answer given.
        golds: (questions,) the texts accepted; at least one each.
        encoder: Of the texts; each distinct one is embedded once.

    Returns:
        (questions,) 0 to 1, best over the gold answers: 1 or 0 where numbers and dates decide, else
        the cosine, a negative one as 0. An empty text is like nothing but another empty one.

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
    """Return what is known of a pair without an encoder, or None."""
    gold, answer = gold.strip(), answer.strip()
    if gold == answer:
        return 1.0
    if not gold or not answer:
        return 0.0
    verdict = agree(gold, answer)
    return None if verdict is Verdict.OPEN else float(verdict is Verdict.SAME)


def _comparable(gold: str, answer: str) -> tuple[str, str]:
    """Return the texts to embed: where all values are equal, these in digits on both sides."""
    if same_values(gold, answer):
        return values.plain(gold), values.plain(answer)
    return gold.strip(), answer.strip()
