"""A search that takes seconds: a random BERT of three layers as parent, and few windows."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertForQuestionAnswering

from qa_lib import models
from qa_lib.runs.result import Trained
from qa_lib.runs.run_folder import RunFolder
from tests.support import tiny


def flags(folder: Path) -> list[str]:
    """Return the flags of a search in a folder that holds the parent as `parent`."""
    return f"""
        --storage {folder} --search.parent {folder / "parent"} --run-name mine
        --data.train-limit 96 --data.max-length 112 --data.stride 32
        --data.holdout-articles 0.1 --data.eval-limit 24
        --train.global-batch 8 --train.micro-batch 4 --train.zero-stage 0 --train.precision fp32
        --adjust.calibration-windows 8 --search.eval-questions 24
        --search.num-trials 4 --search.trial-windows 64 --search.searcher optuna
        --search.space.num-layers 2 --search.space.hidden-size 24,32
        --search.space.intermediate-size 32,64 --search.space.learning-rate 1e-3 1e-2
    """.split()


def one_shot_flags(folder: Path) -> list[str]:
    """Return the flags of a search that enumerates sizes, for one speed."""
    return f"""
        {" ".join(flags(folder))} --search.searcher one-shot --search.held-out-windows 8
        --search.space.num-layers 1,2 --search.space.hidden-size 32 --search.speeds 1.2
    """.split()


def write_parent(folder: Path, titles: tuple[str, ...]) -> str:
    """Write a run of the train job that holds out these articles."""
    tokenizer = tiny.make_tokenizer()
    torch.manual_seed(1)
    widths = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    run = RunFolder(str(folder), "train")
    models.save(BertForQuestionAnswering(widths), tokenizer, folder / "model")
    run.write_result(Trained(holdout_titles=list(titles)))
    return run.path
