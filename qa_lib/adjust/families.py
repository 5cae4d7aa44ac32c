"""What must be declared about an architecture; everything else is derived from the model.

A family is added by an entry of `FAMILIES` that names the linear maps of its attention, and what
its configuration does beyond the common case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qa_lib.errors import AdjustError


@dataclass(frozen=True)
class Family:
    """The declared part of an architecture. Module names are relative to a layer.

    Attributes:
        queries: Linear maps that write queries, which are divided by the root of the head size: the
            tokens' queries first, then any others.
        keys: Linear maps that write keys, the other side of the dot product.
        value: Linear map that writes the values. A map named in all three writes queries, keys and
            values in this order.
        output: Linear map that reads the heads' outputs, and writes the residual stream.
        intermediate_key: Configuration key of the feed-forward width.
        tied_to_hidden: Configuration keys that, where they equal the hidden size, must stay equal
            to it, because the architecture then leaves out a projection.
        head_size_key: Configuration key of the head size, where configurations may hold one.
        layers_key: Configuration key that counts the stored layers. Where it is not
            `num_hidden_layers`, a token passes one stored layer that many times.
        per_layer: Configuration keys that hold a list with a value for each layer.
        rotary: Whether positions rotate a unit by its place in its head: then the head size stays.
        head: Modules after the encoder with units of their own: the module that writes them first,
            then those that normalise over them and read them.
        only: Configuration keys that are supported with one value only.
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
    only: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse values of other types, which would fail far from the declaration."""
        for name in ("queries", "keys", "tied_to_hidden", "per_layer", "head"):
            names = getattr(self, name)
            if not isinstance(names, tuple) or not all(isinstance(each, str) for each in names):
                raise TypeError(f"{name} is a tuple of names, not {names!r}")
        for name in ("value", "output", "intermediate_key", "head_size_key", "layers_key"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is a name, not {getattr(self, name)!r}")
        if not self.queries or not self.keys:
            raise TypeError("queries and keys name a map each, at least")

    @property
    def shares_layers(self) -> bool:
        """Whether a token passes one stored layer several times."""
        return self.layers_key != "num_hidden_layers"


_BERT = Family(
    ("attention.self.query",),
    ("attention.self.key",),
    "attention.self.value",
    "attention.output.dense",
    only={"add_cross_attention": False},
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
        only={"conv_kernel_size": 0},
    ),
    "distilbert": Family(
        ("attention.q_lin",),
        ("attention.k_lin",),
        "attention.v_lin",
        "attention.out_lin",
        intermediate_key="hidden_dim",
    ),
    "electra": replace(_BERT, tied_to_hidden=("embedding_size",)),
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
        AdjustError: The architecture is not declared, or the configuration uses an unsupported
            part of it.
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
    for key, supported in only.items():
        value = getattr(config, key, supported)
        if value != supported:
            raise AdjustError(
                f"A {name} model with {key} {value} cannot be adjusted.",
                f"Adjust a {name} model with {key} {supported}, or one of another family:"
                f" {', '.join(sorted(FAMILIES))}.",
            )
    return family
