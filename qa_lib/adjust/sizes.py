"""How big the adjusted model is to be: read from settings, refused where no model can be so."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.architecture import (
    changed,
    resized,
    shapes_of,
    width,
    with_layers,
    with_vocabulary,
)
from qa_lib.adjust.coupling import label
from qa_lib.adjust.families import family_of
from qa_lib.errors import AdjustError
from qa_lib.models.ragged import FAMILIES as RAGGED_FAMILIES
from qa_lib.models.ragged import Blocks, mark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qa_lib.config import AdjustSettings


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model.

    Attributes:
        layers: Indices of the layers it keeps of its parent, ascending.
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
        """Heads and intermediate size of a layer; of a ragged model's, where they are not 0."""
        if self.blocks is None:
            return self.num_heads, self.intermediate_size
        present = [list(filter(None, each)) for each in astuple(self.blocks)]
        heads, widths = (round(mean(each or [0])) for each in present)
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
            AdjustError: Its family cannot be adjusted.
        """
        return cls(
            layers=tuple(range(config.num_hidden_layers)),
            hidden_size=config.hidden_size,
            num_heads=config.num_attention_heads,
            intermediate_size=width(config, family_of(config).intermediate_key),
        )

    def apply(self, config: Any) -> Any:
        """Return a parent's configuration rewritten to these sizes.

        It is a stock one wherever a stock one can say it: all layers alike, heads as wide together
        as the residual stream.
        """
        if self.vocabulary_size is not None:
            config = with_vocabulary(config, self.vocabulary_size)
        config = resized(with_layers(config, self.layers), self.hidden_size, self.num_heads)
        key = family_of(config).intermediate_key
        config = changed(config, **{key: self.intermediate_size})
        found = {self.of_layer(place) for place in range(len(self.layers))}
        is_stock = found == {(self.num_heads, self.intermediate_size)}
        return mark(config, None if is_stock else self.blocks)


def resolve(config: Any, settings: AdjustSettings) -> Sizes:
    """Turn settings into the sizes of the adjusted model.

    Hidden size and heads hang together, because these families' configurations fix the head size as
    hidden size / heads. A hidden size alone keeps the head size and derives the heads; both given
    change the head size. Without `keep_layers` the first layers stay: dropping the last ones keeps
    more accuracy than any spread.

    Args:
        config: The parent's configuration.
        settings: What to change, free of contradictions (`Settings` sees to that).

    Raises:
        AdjustError: No model of this family can be so; the nearest one that can is named.
    """
    parent = Sizes.of(config)
    hidden_size, num_heads = _hidden(config, settings.hidden_size, settings.num_heads)
    if family_of(config).rotary:
        _keeps_head_size(parent, hidden_size, num_heads)
    intermediate_size = settings.intermediate_size or parent.intermediate_size
    at_most("intermediate size", intermediate_size, parent.intermediate_size)
    layers = _layers(parent, settings)
    check_layers(config, layers)
    sizes = Sizes(layers, hidden_size, num_heads, intermediate_size)
    _check_expressible(config, sizes)
    return sizes


def is_expressible(config: Any, sizes: Sizes) -> bool:
    """Say whether the family's configuration gives a model of these sizes the same tensors.

    ELECTRA leaves out a projection where the hidden size meets the embedding size.
    """
    whole = replace(Sizes.of(config), layers=sizes.layers).apply(config)
    return shapes_of(sizes.apply(config)).keys() == shapes_of(whole).keys()


def check_layers(config: Any, layers: tuple[int, ...]) -> None:
    """Refuse layers that the family's configuration cannot give these places.

    Raises:
        AdjustError: A layer's tensors are not those that its place asks for, or the layers share
            their tensors, so that there is nothing to choose.
    """
    dimensions = label(config)
    count = f"--adjust.num-layers {len(layers)}"
    if family_of(config).shares_layers:
        if layers != tuple(range(len(layers))):
            raise AdjustError(
                f"The layers of this {config.model_type} model share their weights: the same model"
                " follows from any of them.",
                f"Say only how many stay: {count}.",
            )
        return
    inside = [set[str]() for _ in dimensions.layers]
    for name in dimensions.shapes:
        index = dimensions.layer_of(name)
        if index is not None:
            inside[index].add(name[len(f"{dimensions.layer_prefix}{index}") :])
    for place, layer in enumerate(layers):
        other = inside[place] ^ inside[layer]
        if other:
            raise AdjustError(
                f"Layer {layer} cannot become layer {place} of a {config.model_type} model, where"
                f" one of the two has no {min(other)[1:]}.",
                f"Keep layer {place} too, or the first layers: {count}.",
            )


def check_ragged_family(config: Any) -> None:
    """Refuse a ragged model of a family that `qa_lib.models.ragged` cannot build.

    Raises:
        AdjustError: It is such.
    """
    if config.model_type not in RAGGED_FAMILIES:
        raise AdjustError(
            f"Models of the family {config.model_type} cannot become ragged.",
            f"Leave --adjust.ragged, or adjust one of: {', '.join(sorted(RAGGED_FAMILIES))}.",
        )


def _keeps_head_size(parent: Sizes, hidden_size: int, num_heads: int) -> None:
    if hidden_size // num_heads != parent.head_size:
        raise AdjustError(
            f"{num_heads} heads at hidden size {hidden_size} change the head size"
            f" {parent.head_size}, by which this model's rotary positions turn.",
            f"Pass --adjust.hidden-size {num_heads * parent.head_size} alone.",
        )


def _layers(parent: Sizes, settings: AdjustSettings) -> tuple[int, ...]:
    last = len(parent.layers) - 1
    if settings.num_layers is not None:
        at_most("number of layers", settings.num_layers, last + 1)
    keep = settings.keep_layers
    if keep is None:
        return parent.layers[: settings.num_layers]
    if max(keep) > last:
        valid = sorted({min(index, last) for index in keep})
        raise AdjustError(
            f"Layer {max(keep)} cannot be kept: the model's are counted from 0 to {last}.",
            f"The nearest that can: --adjust.keep-layers {' '.join(map(str, valid))}.",
        )
    return keep


def _hidden(config: Any, hidden_size: int | None, num_heads: int | None) -> tuple[int, int]:
    parent = Sizes.of(config)
    if hidden_size is None:
        if num_heads in (None, parent.num_heads):
            return parent.hidden_size, parent.num_heads
        derived = min(num_heads, parent.num_heads) * parent.head_size
        ragged = ", or --adjust.ragged for a model that stock transformers cannot load"
        raise AdjustError(
            f"{num_heads} heads alone cannot be expressed: in this family the head size is hidden"
            " size / heads, so that fewer heads need a smaller hidden size.",
            f"Pass --adjust.hidden-size {derived}, which keeps the head size {parent.head_size}"
            f"{ragged if config.model_type in RAGGED_FAMILIES else ''}.",
        )
    at_most("hidden size", hidden_size, parent.hidden_size)
    if num_heads is None:
        _multiple("hidden size", hidden_size, parent.head_size, parent.hidden_size, "the head size")
        return hidden_size, hidden_size // parent.head_size
    at_most("number of heads", num_heads, parent.num_heads)
    _multiple("hidden size", hidden_size, num_heads, parent.hidden_size, "the number of heads")
    if hidden_size // num_heads > parent.head_size:
        raise AdjustError(
            f"{num_heads} heads at hidden size {hidden_size} have {hidden_size // num_heads} units"
            f" each, but the model's have {parent.head_size}, and heads do not grow.",
            f"Pass --adjust.hidden-size {num_heads * parent.head_size} with"
            f" --adjust.num-heads {num_heads}.",
        )
    return hidden_size, num_heads


def at_most(what: str, value: int, available: int) -> None:
    """Refuse a size that is more than the model has, and name the flag.

    Raises:
        AdjustError: It is.
    """
    if value > available:
        flag = {"number of layers": "num-layers", "number of heads": "num-heads"}.get(
            what, what.replace(" ", "-")
        )
        raise AdjustError(
            f"The {what} {value} is more than the model has.",
            f"The nearest that it can keep is --adjust.{flag} {available}.",
        )


def _multiple(what: str, value: int, step: int, available: int, of: str) -> None:
    if value % step:
        valid = _nearest(value, range(step, available + 1, step))
        raise AdjustError(
            f"The {what} {value} is not a multiple of {of}, {step}.",
            f"The nearest that is: --adjust.hidden-size {valid}.",
        )


def _check_expressible(config: Any, sizes: Sizes) -> None:
    if is_expressible(config, sizes):
        return
    parent = Sizes.of(config)
    keeps_head_size = sizes.head_size == parent.head_size
    step = parent.head_size if keeps_head_size else sizes.num_heads
    most = parent.hidden_size if keeps_head_size else sizes.num_heads * parent.head_size
    candidates = [
        Sizes(
            sizes.layers,
            hidden_size,
            hidden_size // step if keeps_head_size else sizes.num_heads,
            sizes.intermediate_size,
        )
        for hidden_size in range(step, most + 1, step)
    ]
    valid = [c.hidden_size for c in candidates if is_expressible(config, c)]
    raise AdjustError(
        f"The hidden size {sizes.hidden_size} cannot be expressed by a {config.model_type}"
        " configuration: it would leave out a projection that this model has.",
        f"The nearest that can be: --adjust.hidden-size {_nearest(sizes.hidden_size, valid)}.",
    )


def _nearest(value: int, valid: Iterable[int]) -> int:
    return min(valid, key=lambda other: (abs(other - value), other))
