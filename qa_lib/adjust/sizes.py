"""The sizes of an adjusted model, and which of them a family's configuration can express."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from statistics import mean
from typing import Any

from qa_lib.adjust.architecture import (
    changed,
    resized,
    shapes_of,
    with_layers,
    with_vocabulary,
)
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.families import family_of
from qa_lib.errors import AdjustError
from qa_lib.models.ragged import RAGGED_FAMILIES, Blocks, mark


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model.

    Attributes:
        layers: Indices of the parent's layers that stay, ascending.
        hidden_size: Width of the residual stream.
        num_heads: Attention heads of each layer.
        intermediate_size: Width of the feed-forward part of each layer.
        vocabulary_size: Number of tokens, where it is not the parent's.
        blocks: Heads and widths layer by layer, of a ragged model; then `num_heads` is how often
            the head size fits the hidden size, and `intermediate_size` the widest layer's.
    """

    layers: tuple[int, ...]
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocabulary_size: int | None = None
    blocks: Blocks | None = None

    @property
    def head_size(self) -> int:
        """Units of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def means(self) -> tuple[int, int]:
        """Heads and intermediate size of a layer; means of the nonzero ones in a ragged model."""
        if self.blocks is None:
            return self.num_heads, self.intermediate_size
        present = [list(filter(None, widths)) for widths in astuple(self.blocks)]
        heads, widths = (round(mean(values or [0])) for values in present)
        return heads, widths

    def of_layer(self, place: int) -> tuple[int, int]:
        """Return heads and intermediate size of a kept layer, by its place among them."""
        if self.blocks is None:
            return self.num_heads, self.intermediate_size
        return self.blocks.num_heads[place], self.blocks.intermediate_size[place]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Sizes:
        """Read back what `dataclasses.asdict` returned, from JSON too."""
        blocks = values.get("blocks")
        if blocks is not None:
            blocks = Blocks(**{name: tuple(widths) for name, widths in blocks.items()})
        return cls(**values | {"layers": tuple(values["layers"]), "blocks": blocks})

    @classmethod
    def of(cls, config: Any) -> Sizes:
        """Read the sizes of a configuration.

        Raises:
            AdjustError: The family is not supported.
        """
        return cls(
            layers=tuple(range(config.num_hidden_layers)),
            hidden_size=config.hidden_size,
            num_heads=config.num_attention_heads,
            intermediate_size=getattr(config, family_of(config).intermediate_key),
        )

    def apply(self, config: Any) -> Any:
        """Return a parent's configuration rewritten to these sizes.

        It is a stock one wherever a stock one can express them: all layers alike, and heads that
        together are as wide as the residual stream.
        """
        if self.vocabulary_size is not None:
            config = with_vocabulary(config, self.vocabulary_size)
        config = resized(with_layers(config, self.layers), self.hidden_size, self.num_heads)
        key = family_of(config).intermediate_key
        config = changed(config, **{key: self.intermediate_size})
        layer_sizes = {self.of_layer(place) for place in range(len(self.layers))}
        is_stock = layer_sizes == {(self.num_heads, self.intermediate_size)}
        return mark(config, None if is_stock else self.blocks)


def is_expressible(config: Any, sizes: Sizes) -> bool:
    """Say whether the family's configuration gives a model of these sizes the same tensors.

    ELECTRA, for one, leaves out a projection where hidden size and embedding size are equal.
    """
    whole = replace(Sizes.of(config), layers=sizes.layers).apply(config)
    return shapes_of(sizes.apply(config)).keys() == shapes_of(whole).keys()


def spread_layers(num_layers: int, num_kept: int) -> tuple[int, ...]:
    """Return layers spread evenly from the first to the last."""
    if num_kept == 1:
        return (0,)
    return tuple(round(i * (num_layers - 1) / (num_kept - 1)) for i in range(num_kept))


def check_layers(config: Any, layers: tuple[int, ...]) -> None:
    """Check that each kept layer has the tensors that the model expects at its new place.

    Raises:
        AdjustError: A layer has other tensors than its new place expects, or all layers share one
            set of tensors, so that there is no choice.
    """
    count = f"--adjust.num-layers {len(layers)}"
    if family_of(config).shares_layers:
        if layers != tuple(range(len(layers))):
            raise AdjustError(
                f"The layers of this {config.model_type} model share their weights: the same model"
                " follows from any of them.",
                f"Leave out --adjust.layers; instead of --adjust.keep-layers give {count}.",
            )
        return
    tensors = _layer_tensors(config)
    for place, layer in enumerate(layers):
        missing = tensors[place] ^ tensors[layer]
        if missing:
            raise AdjustError(
                f"Layer {layer} cannot become layer {place} of a {config.model_type} model, where"
                f" one of the two has no {min(missing)}.",
                f"Keep layer {place} too, or the first layers: {count}.",
            )


def places_of_layers(config: Any) -> tuple[tuple[int, ...], ...]:
    """Return, for each place in a model of fewer layers, the parent's layers that can take it.

    A set of layers that `check_layers` accepts has in each place one of these.
    """
    count = config.num_hidden_layers
    if family_of(config).shares_layers:
        return tuple((place,) for place in range(count))
    tensors = _layer_tensors(config)
    return tuple(
        tuple(layer for layer in range(count) if tensors[layer] == tensors[place])
        for place in range(count)
    )


def _layer_tensors(config: Any) -> list[set[str]]:
    """Return the names of every layer's tensors, without the layer's own."""
    groups = groups_of(config)
    tensors = [set[str]() for _ in groups.layers]
    for name in groups.shapes:
        index = groups.layer_of(name)
        if index is not None:
            tensors[index].add(name[len(f"{groups.layer_prefix}{index}.") :])
    return tensors


def check_ragged_family(config: Any) -> None:
    """Check that the family has a ragged form.

    Raises:
        AdjustError: The family has no ragged form.
    """
    if config.model_type not in RAGGED_FAMILIES:
        raise AdjustError(
            f"Models of the family {config.model_type} cannot become ragged.",
            f"Leave out --adjust.ragged, or adjust one of: {', '.join(sorted(RAGGED_FAMILIES))}.",
        )
