"""A tiny random BERT and its tokenizer, for runs of real parts that take seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece
from transformers import BertConfig, PreTrainedTokenizerFast

from qa_lib import models
from qa_lib.data import embedded
from qa_lib.models import ragged
from qa_lib.models.ragged import Blocks


def write_model(folder: Path, *, num_layers: int = 1, blocks: Blocks | None = None) -> str:
    """Write a BERT, ragged where it has `blocks`, with a WordPiece tokenizer of embedded text."""
    tokenizer = make_tokenizer()
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    models.save(models.build(ragged.mark(config, blocks)), tokenizer, folder)
    return str(folder)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Learn a WordPiece tokenizer from the embedded corpus."""
    backend = Tokenizer(WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    backend.train_from_iterator(
        embedded.corpus("train")["context"].unique().to_pylist()[:100],
        trainers.WordPieceTrainer(vocab_size=600, special_tokens=specials, show_progress=False),
    )
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
