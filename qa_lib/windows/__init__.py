"""Token windows of questions and contexts, as Arrow tables, and their padded tensors.

    built = windows.build(questions.table, tokenizer, WindowSpec(max_length=384, stride=128))
    batch = windows.collate(built.table.take([4, 8, 15]), PadSpec.of(tokenizer))

A window is what the model reads at once: the question and as much of the context as fits into
`max_length` tokens. A longer context is cut into overlapping windows, each with the whole question;
the stride is the number of context tokens that consecutive windows share, so that an answer at a
cut is whole in one of them.

The windows are those of the tokenizer called on (question, context) pairs with
`truncation="only_second"`, a stride and overflow, but a context is tokenised once, not once for
each of its questions, and windows are gathered from flat token arrays. Positions count tokens of
the unpadded window; characters are Unicode code points of the context.
"""

from __future__ import annotations

from qa_lib.windows.building import Windows, WindowSpec, build
from qa_lib.windows.reach import count_unreachable
from qa_lib.windows.tensors import PadSpec, characters, collate, lengths, pad_arrays

__all__ = [
    "PadSpec",
    "WindowSpec",
    "Windows",
    "build",
    "characters",
    "collate",
    "count_unreachable",
    "lengths",
    "pad_arrays",
]
