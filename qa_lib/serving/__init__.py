"""Answering questions: in a program, at a prompt, from a file on a cluster, on a demo page.

    answerer = Answerer("runs/mine")
    answerer(question="Who built it?", context="Ann built the bridge in 1890.")
    # {'score': 0.98, 'start': 0, 'end': 3, 'answer': 'Ann'}

The call, its defaults and its answers are those of the `question-answering` pipeline that
transformers 5 removed. For scores under SQuAD's rules see `qa_lib.evaluation`.
"""

from __future__ import annotations

from qa_lib.serving.answerer import Answerer
from qa_lib.serving.batch import answer_file
from qa_lib.serving.prompt import ask, call_options, converse, load_answerer, options_within

__all__ = [
    "Answerer",
    "answer_file",
    "ask",
    "call_options",
    "converse",
    "load_answerer",
    "options_within",
]
