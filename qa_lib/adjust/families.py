"""What the adjustment must be told about an architecture; everything else is found from the model.

A family is added by a line of `FAMILIES` that names the linear maps of its attention. What its
configuration does beyond the common case is declared here too, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qa_lib.errors import AdjustError


@dataclass(frozen=True)
class Family:
    """The declared part of an architecture. Module names are relative to a layer.

    Attributes:
        queries: Linear maps that write what is divided by the root of the head size: the tokens'
            queries first, then any others.
        keys: Linear maps that write what queries meet in a dot product.
        value: Linear map that writes the values. Where one map is named in all three, it writes
            them one after the other.
        output: Linear map that reads what the heads gathered, and writes the residual stream.
        intermediate_key: Configuration key of the feed-forward width.
        tied_to_hidden: Configuration keys that, where they equal the hidden size, must stay equal
            to it, because the architecture then leaves out a projection.
        head_size_key: Configuration key of the head size, in families whose configurations may
            hold one.
        layers_key: Configuration key that counts the layers whose tensors are stored. Where it is
            not `num_hidden_layers`, one stored layer is passed through that many times.
        per_layer: Configuration keys that hold a list with a value for each layer.
        rotary: Whether a unit's place in its head decides how it turns with the position: then
            heads go whole, and the head size stays.
        head: Modules after the encoder whose units are their own: what writes them first, then
            what reads them and normalises over them.
        untraced: Ends of the names of modules that the trace does not see: the labels alone find
            them, and the permutation proof tests them.
        only: Configuration keys that this surgery knows with one value only.
    """

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    value: str
    output: str
    intermediate_key: str = "intermediate_size"
    tied_to_hidden: tuple[str, ...] = ()
    head_size_key: str = ""
    layers_key: str = "num_hidden_layers"
    per_layer: tuple[str, ...] = ()
    rotary: bool = False
    head: tuple[str, ...] = ()
    untraced: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def shares_layers(self) -> bool:
        """Whether one stored layer is passed through several times."""
        return self.layers_key != "num_hidden_layers"


_BERT = Family(
    ("attention.self.query",),
    ("attention.self.key",),
    "attention.self.value",
    "attention.output.dense",
)

FAMILIES = {
    "albert": Family(
        ("albert_layers.0.attention.query",),
        ("albert_layers.0.attention.key",),
        "albert_layers.0.attention.value",
        "albert_layers.0.attention.dense",
        layers_key="num_hidden_groups",
        only={"num_hidden_groups": 1, "inner_group_num": 1},
    ),
    "bert": _BERT,
    "deberta-v2": Family(
        ("attention.self.query_proj", "attention.self.pos_query_proj"),
        ("attention.self.key_proj", "attention.self.pos_key_proj"),
        "attention.self.value_proj",
        "attention.output.dense",
        tied_to_hidden=("embedding_size", "pooler_hidden_size"),
        head_size_key="attention_head_size",
        untraced=(
            "encoder.rel_embeddings",
            "encoder.LayerNorm",
            "attention.self.pos_query_proj",
            "attention.self.pos_key_proj",
        ),
        only={"conv_kernel_size": 0},
    ),
    "distilbert": Family(
        ("attention.q_lin",),
        ("attention.k_lin",),
        "attention.v_lin",
        "attention.out_lin",
        intermediate_key="hidden_dim",
    ),
    "electra": Family(
        _BERT.queries, _BERT.keys, _BERT.value, _BERT.output, tied_to_hidden=("embedding_size",)
    ),
    "modernbert": Family(
        ("attn.Wqkv",),
        ("attn.Wqkv",),
        "attn.Wqkv",
        "attn.Wo",
        per_layer=("layer_types",),
        rotary=True,
        head=("head.dense", "head.norm", "classifier"),
    ),
    "mpnet": Family(
        ("attention.attn.q",), ("attention.attn.k",), "attention.attn.v", "attention.attn.o"
    ),
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}


def family_of(config: Any) -> Family:
    """Return the declared part of a configuration's architecture.

    Raises:
        AdjustError: The architecture is not declared, or the configuration uses a part of it that
            this surgery does not know.
    """
    name = config.model_type
    if name not in FAMILIES:
        raise AdjustError(
            f"Models of the family {name} cannot be adjusted.",
            f"Adjust one of these families: {', '.join(sorted(FAMILIES))}.",
        )
    family = FAMILIES[name]
    only = dict(family.only)
    if family.head_size_key:
        only[family.head_size_key] = config.hidden_size // config.num_attention_heads
    for key, known in only.items():
        found = getattr(config, key, known)
        if found != known:
            raise AdjustError(
                f"A {name} model with {key} {found} cannot be adjusted.",
                f"Adjust a {name} model with {key} {known}, or one of another family:"
                f" {', '.join(sorted(FAMILIES))}.",
            )
    return family
