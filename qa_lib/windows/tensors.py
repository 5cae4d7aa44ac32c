"""Padded arrays and tensors of windows, and spans of tokens back to characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib.errors import ModelError
from qa_lib.windows.list_arrays import Int32s, Int64s, as_numpy, flat

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class PadSpec:
    """How windows are padded, always on the right: what `collate` needs, small and picklable.

    Attributes:
        pad_id: Token that fills `input_ids`.
        pad_type_id: Type that fills `token_type_ids`.
        token_types: Whether the model takes `token_type_ids`.
        max_width: Most tokens to pad to, what the model can hold; None: no bound.
    """

    pad_id: int
    pad_type_id: int
    token_types: bool
    max_width: int | None = None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, max_width: int | None = None) -> PadSpec:
        """Read a tokenizer's padding.

        Args:
            tokenizer: Of the model.
            max_width: What the model can hold (`models.maximum_length`) or the longest window.

        Raises:
            ModelError: It has no padding token.
        """
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no padding token",
                "set pad_token in its tokenizer_config.json",
            )
        return cls(
            pad_id=tokenizer.pad_token_id,
            pad_type_id=tokenizer.pad_token_type_id,
            token_types="token_type_ids" in tokenizer.model_input_names,
            max_width=max_width,
        )


def collate(
    table: pa.Table, pad: PadSpec, pad_to_multiple: int = 8, length: int | None = None
) -> dict[str, torch.Tensor]:
    """Pad windows on the right to one width, as tensors; see `pad_arrays`."""
    import torch

    arrays = pad_arrays(table, pad, pad_to_multiple, length)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def pad_arrays(
    table: pa.Table, pad: PadSpec, pad_to_multiple: int = 8, length: int | None = None
) -> dict[str, Int64s]:
    """Pad windows on the right to one width.

    Args:
        table: Windows from `build`, in the order wanted (`Table.take`).
        pad: The tokenizer's padding.
        pad_to_multiple: The width is the longest window's length, rounded up to a multiple of this
            as far as `pad.max_width` allows.
        length: The width, if not None.

    Returns:
        int64 arrays. `input_ids`, `attention_mask` and, where the model takes them,
        `token_type_ids`: (windows, width). `start_positions` and `end_positions`, where the table
        has labels: (windows,).

    Raises:
        ValueError: A window is longer than `length`.
    """
    num_tokens = lengths(table)
    longest = int(num_tokens.max(initial=0))
    width = -(-longest // pad_to_multiple) * pad_to_multiple if length is None else length
    if length is None and pad.max_width is not None:
        width = max(longest, min(width, pad.max_width))
    if longest > width:
        raise ValueError(f"a window of {longest} tokens does not fit a width of {width}")
    position = np.arange(width, dtype=np.int32)
    real = position < num_tokens[:, None]  # (windows, width)

    input_ids = np.full(real.shape, pad.pad_id, np.int64)
    input_ids[real] = flat(table["input_ids"])[0]  # both in the order of windows, then tokens
    batch = {"input_ids": input_ids, "attention_mask": real.astype(np.int64)}
    if pad.token_types:
        second = position >= as_numpy(table["second_segment"])[:, None]
        batch["token_type_ids"] = np.where(real, second, pad.pad_type_id).astype(np.int64)
    if "start" in table.column_names:
        batch["start_positions"] = as_numpy(table["start"]).astype(np.int64)
        batch["end_positions"] = as_numpy(table["end"]).astype(np.int64)
    return batch


def lengths(table: pa.Table) -> Int32s:
    """Return the number of tokens of each window, shape (windows,)."""
    return as_numpy(table["length"])


def characters(
    table: pa.Table, window: Int32s, start: Int32s, end: Int32s
) -> tuple[Int32s, Int32s]:
    """Map spans of tokens to spans of characters.

    Args:
        table: Windows with `char_start` and `char_end`.
        window: Index of each span's window in the table, shape (spans,).
        start: Position in the unpadded window of its first token, a context token; (spans,).
        end: Position of its last token, inclusive; (spans,).

    Returns:
        First and one past the last character of each span in its context, each of shape (spans,).
    """
    context_begin = as_numpy(table["context_begin"])[window]
    char_start, start_offsets = flat(table["char_start"])
    char_end, end_offsets = flat(table["char_end"])
    return (
        char_start[start_offsets[window] + start - context_begin],
        char_end[end_offsets[window] + end - context_begin],
    )
