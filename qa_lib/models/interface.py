"""What a model can read, told from its modules and its forward pass: no list of families."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Interface:
    """The bounds of a model's inputs.

    Attributes:
        max_length: Tokens that its positions can hold; None: unbounded.
        positions_follow_padding: Whether position ids start after the padding's token id, as
            RoBERTa's do.
        takes_types: Whether it tells token types 0 and 1 apart.
        vocabulary_size: Rows of its word embeddings; None where it has none.
    """

    max_length: int | None
    positions_follow_padding: bool
    takes_types: bool
    vocabulary_size: int | None

    @classmethod
    def of(cls, model: PreTrainedModel) -> Interface:
        """Inspect a model, which may be on the meta device."""
        limit = getattr(model.config, "max_position_embeddings", None)
        limits = [limit] if limit is not None and limit > 0 else []
        follows = False
        type_rows = getattr(model.config, "type_vocab_size", None)
        for name, module in model.base_model.named_modules():
            weight = getattr(module, "weight", None)
            if weight is None or weight.ndim != 2 or "position" not in name.rpartition(".")[2]:
                continue
            padding = getattr(module, "padding_idx", None)
            follows |= padding is not None
            # Tables of the BART family have rows in front of the first position.
            first = getattr(module, "offset", 0) if padding is None else padding + 1
            limits.append(weight.shape[0] - first)
        has_types = "token_type_ids" in inspect.signature(model.forward).parameters
        return cls(
            max_length=min(limits, default=None),
            positions_follow_padding=follows,
            takes_types=has_types and type_rows != 1,
            vocabulary_size=_num_embeddings(model),
        )


def _num_embeddings(model: PreTrainedModel) -> int | None:
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:  # of a family that hashes its input
        return None
    return None if weight is None else int(weight.shape[0])
