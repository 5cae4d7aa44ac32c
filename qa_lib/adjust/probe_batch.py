"""Windows of random tokens for proofs, and the logits that a model gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import Batch, model_inputs
from qa_lib.adjust.plan import Indices, Plan
from qa_lib.errors import AdjustError
from qa_lib.models import maximum_length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def probe(
    config: Any, vocabulary: Indices | None = None, *, num_windows: int = 2, num_tokens: int = 48
) -> Batch:
    """Draw windows of random tokens, the last one padded.

    The equality of two models shows on any tokens, so that a proof needs no questions.

    Args:
        config: The model's.
        vocabulary: Tokens to draw from; all where None.
        num_windows: Windows to draw.
        num_tokens: Tokens of each window, or as many as the model has positions for.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    pad_id = config.pad_token_id or 0
    longest = min(num_tokens, maximum_length(config) or num_tokens)
    tokens = torch.tensor(vocabulary or range(config.vocab_size))
    tokens = tokens[tokens != pad_id]
    input_ids = tokens[torch.randint(len(tokens), (num_windows, longest), generator=generator)]
    attention_mask = torch.ones_like(input_ids)
    attention_mask[-1, longest // 2 :] = 0
    input_ids[attention_mask == 0] = pad_id
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def renumbered(batch: Batch, plan: Plan) -> Batch:
    """Return a batch of the parent's token ids with the child's ids of the same tokens."""
    import torch

    if plan.keep.vocabulary is None:
        return batch
    kept = torch.tensor(plan.keep.vocabulary)
    return batch | {"input_ids": torch.searchsorted(kept, batch["input_ids"])}


def logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return start and end logits of the real tokens, of shape (2, real tokens)."""
    import torch

    inputs = {key: value.to(model.device) for key, value in model_inputs(batch).items()}
    with torch.no_grad():
        output = model(**inputs)
    real = inputs["attention_mask"].bool()
    return torch.stack([output.start_logits[real], output.end_logits[real]])


def require(holds: bool, otherwise: str) -> None:
    """Check one part of a proof.

    Raises:
        AdjustError: The part does not hold.
    """
    if not holds:
        raise AdjustError(
            f"The adjusted model failed its proof: {otherwise}.",
            "Nothing was written. Adjust another checkpoint, and report this one.",
        )
