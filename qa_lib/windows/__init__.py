"""Questions and contexts to token windows, as Arrow; and windows to padded tensors.

    cut = windows.build(questions.table, tokenizer, WindowSpec(max_length=384, stride=128))
    batch = windows.collate(cut.table.take([4, 8, 15]), PadSpec.of(tokenizer))

A context longer than the model's window is cut into overlapping windows, each of which carries the
whole question. The windows are those of the tokenizer called on (question, context) pairs with
`truncation="only_second"`, a stride and overflow, but a context is tokenised once, not once for
each of its questions, and windows are gathered from flat token arrays.

Positions count tokens of the unpadded window; characters are Unicode code points of the context.
"""

from __future__ import annotations

from qa_lib.windows.building import Windows, WindowSpec, build
from qa_lib.windows.tensors import PadSpec, characters, collate, lengths

__all__ = ["PadSpec", "WindowSpec", "Windows", "build", "characters", "collate", "lengths"]
