"""Tokenizers of the families' own classes, trained in a moment on the embedded corpus."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertTokenizer,
    AutoModelForQuestionAnswering,
    BertTokenizer,
    DebertaV2Tokenizer,
    DistilBertTokenizer,
    ElectraTokenizer,
    MPNetTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from qa_lib.adjust.architecture import changed
from qa_lib.data import embedded
from qa_lib.models import positions_follow_padding
from tests.support.adjust_models import CONFIGS, randomised

_SIZE = 600
_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@cache
def texts() -> pa.StringArray:
    """Return the contexts that the tokenizers are trained on."""
    rows = embedded.corpus("train").slice(0, 300)
    return pa.array(sorted(set(rows["context"].to_pylist())), pa.string())


def _trained(tokenizer: Tokenizer, trainer: Any) -> dict[str, Any]:
    import json

    tokenizer.train_from_iterator(texts().to_pylist(), trainer)
    found: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return found


def _word_pieces(specials: list[str]) -> dict[str, int]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=_SIZE, special_tokens=specials, show_progress=False
    )
    vocab: dict[str, int] = _trained(tokenizer, trainer)["vocab"]
    return vocab


def _byte_pairs(specials: list[str]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return _trained(tokenizer, trainer)


def _unigrams(specials: list[str], unk: str) -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=_SIZE, special_tokens=specials, unk_token=unk, show_progress=False
    )
    return [(piece, score) for piece, score in _trained(tokenizer, trainer)["vocab"]]


def _modernbert() -> PreTrainedTokenizerFast:
    """As published: byte pairs, special tokens at the end, no class of its own."""
    model = _byte_pairs([])
    merges = [tuple(pair) for pair in model["merges"]]
    backend = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens(_BERT)
    number = {token: backend.token_to_id(token) for token in ("[CLS]", "[SEP]")}
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=list(number.items()),
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(names, _BERT, strict=True)),
    )


def _roberta() -> PreTrainedTokenizerFast:
    model = _byte_pairs(_ROBERTA)
    merges = [tuple(pair) for pair in model["merges"]]
    return RobertaTokenizer(vocab=model["vocab"], merges=merges)


MAKE = {
    "bert": lambda: BertTokenizer(vocab=_word_pieces(_BERT)),
    "distilbert": lambda: DistilBertTokenizer(vocab=_word_pieces(_BERT)),
    "electra": lambda: ElectraTokenizer(vocab=_word_pieces(_BERT)),
    "roberta": _roberta,
    "xlm-roberta": lambda: XLMRobertaTokenizer(vocab=_unigrams(_ROBERTA[:4], "<unk>")),
    "mpnet": lambda: MPNetTokenizer(
        vocab=_word_pieces(["<s>", "<pad>", "</s>", "[UNK]", "<unk>", "<mask>"])
    ),
    "albert": lambda: AlbertTokenizer(
        vocab=_unigrams(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], "<unk>")
    ),
    "modernbert": _modernbert,
    "deberta-v2": lambda: DebertaV2Tokenizer(
        vocab=_unigrams(["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "[UNK]")
    ),
}


@cache
def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Return a family's tokenizer."""
    made: PreTrainedTokenizerFast = MAKE[family]()
    made.backend_tokenizer.no_truncation()
    made.backend_tokenizer.no_padding()
    return made


@cache
def tiny_with(family: str) -> PreTrainedModel:
    """Return a tiny random model of a family that speaks its tokenizer's tokens."""
    own = tokenizer(family)
    ids = {f"{name}_token_id": getattr(own, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    if family == "modernbert":
        ids |= {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
    config = CONFIGS[family]()
    known = {key: value for key, value in ids.items() if getattr(config, key, None) is not None}
    longest = 130 if positions_follow_padding(config) else 128
    config = changed(config, vocab_size=len(own), max_position_embeddings=longest, **known)
    return randomised(AutoModelForQuestionAnswering.from_config(config))
