"""What the adjustment must be told about an architecture; everything else is found from the model.

A family is added by a line of `FAMILIES` that names the four linear maps of its attention. What its
configuration does beyond the common case is declared here too, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qa_lib.errors import AdjustError


@dataclass(frozen=True)
class Family:
    """The declared part of an architecture. Module names are relative to a layer.

    Attributes:
        query: Linear map that writes the queries, as the keys' and the values' do.
        key: See `query`.
        value: See `query`.
        output: Linear map that reads what the heads gathered, and writes the residual stream.
        intermediate_key: Configuration key of the feed-forward width.
        tied_to_hidden: Configuration keys that, where they equal the hidden size, must stay equal
            to it, because the architecture then leaves out a projection.
    """

    query: str
    key: str
    value: str
    output: str
    intermediate_key: str = "intermediate_size"
    tied_to_hidden: tuple[str, ...] = ()


_BERT_ATTENTION = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
)

FAMILIES = {
    "bert": Family(*_BERT_ATTENTION),
    "distilbert": Family(
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        intermediate_key="hidden_dim",
    ),
    "electra": Family(*_BERT_ATTENTION, tied_to_hidden=("embedding_size",)),
    "roberta": Family(*_BERT_ATTENTION),
}


def family_of(config: Any) -> Family:
    """Return the declared part of a configuration's architecture.

    Raises:
        AdjustError: The architecture is not declared.
    """
    if config.model_type not in FAMILIES:
        raise AdjustError(
            f"Models of the family {config.model_type} cannot be adjusted.",
            f"Adjust one of these families: {', '.join(sorted(FAMILIES))}.",
        )
    return FAMILIES[config.model_type]
