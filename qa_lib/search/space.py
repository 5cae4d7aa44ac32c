"""The search space: settings of an adjustment and of the recovery after it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from qa_lib import adjust
from qa_lib.adjust import Sizes
from qa_lib.config import AdjustSettings, ImportanceMethod
from qa_lib.errors import AdjustError
from qa_lib.search.layer_sets import LayerSets

if TYPE_CHECKING:
    from qa_lib.config import SpaceSettings

_INTERMEDIATE_FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # of the parent's size
_HIDDEN_FRACTIONS = (0.75, 1.0)
_ENUMERATED_FRACTIONS = (0.5, *_HIDDEN_FRACTIONS)
_NARROWEST = 16  # no feed-forward part is narrower than the parent's divided by this


@dataclass(frozen=True)
class Setting:
    """One point of the space: what to cut, and how to recover.

    Attributes:
        sizes: Of the adjusted model.
        importance: How units are scored.
        learning_rate: Peak rate of the recovery.
        distill_weight: Weight of the parent's logits; the labels get the rest.
    """

    sizes: Sizes
    importance: ImportanceMethod
    learning_rate: float
    distill_weight: float

    def row(self) -> dict[str, Any]:
        """Return the setting as the columns of a table."""
        sizes = self.sizes
        num_heads, intermediate_size = sizes.means
        return {
            "num_layers": len(sizes.layers),
            "kept_layers": list(sizes.layers),
            "hidden_size": sizes.hidden_size,
            "num_heads": num_heads,
            "intermediate_size": intermediate_size,
            "ragged": sizes.blocks is not None,
            "importance": self.importance,
            "learning_rate": self.learning_rate,
            "distill_weight": self.distill_weight,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setting:
        """Rebuild a setting from `to_dict`, also after a round trip through JSON."""
        return cls(**values | {"sizes": Sizes.from_dict(values["sizes"])})


@dataclass(frozen=True)
class Space:
    """The settings that a search can choose from.

    Attributes:
        sizes: Every combination of layers and widths except the parent's own; ragged ones with
            equal layers, as they are before units are scored.
        importance: Ways of scoring units.
        learning_rate: Lowest and highest.
        distill_weight: Lowest and highest.
    """

    sizes: tuple[Sizes, ...]
    importance: tuple[ImportanceMethod, ...]
    learning_rate: tuple[float, float]
    distill_weight: tuple[float, float]


def space_of(config: Any, settings: SpaceSettings, *, round_to: int = 8) -> Space:
    """Return the space that settings describe for a parent.

    Args:
        config: The parent's configuration.
        settings: Sizes that are None are derived from the parent's.
        round_to: Derived intermediate sizes are multiples of this.

    Raises:
        AdjustError: This parent cannot have one of the sizes, or no size but its own is left.
    """
    parent = Sizes.of(config)
    most = len(parent.layers)
    num_layers = _depths(parent, settings, math.ceil(most / 2))
    hidden = _hidden_sizes(config, settings, _HIDDEN_FRACTIONS)
    intermediate = settings.intermediate_size or _fractions(
        parent.intermediate_size, _INTERMEDIATE_FRACTIONS, round_to
    )
    sets = LayerSets.of(config, settings.layers or ("first",))
    kept = [layers for count in num_layers for layers in sets.of_depth(count)]
    sizes: dict[Sizes, None] = {}  # in order, without duplicates
    for layers, stream, inner, ragged in product(
        kept, _streams(parent, hidden, settings), intermediate, settings.ragged
    ):
        if ragged and inner == parent.intermediate_size:
            continue  # nothing for layers to share out
        values = {**stream, "intermediate_size": inner, "ragged": ragged}
        sizes[_resolve(config, {"keep_layers": layers, **values})] = None
    sizes.pop(parent, None)
    if not sizes:
        raise AdjustError(
            "The search space holds no size but the parent's own: there is nothing to search.",
            "Give smaller sizes, for example --search.space.intermediate-size"
            f" {parent.intermediate_size // 2} {parent.intermediate_size}.",
        )
    return Space(tuple(sizes), settings.importance, settings.learning_rate, settings.distill_weight)


@dataclass(frozen=True)
class Choices:
    """What sizes near a speed are enumerated from.

    Attributes:
        streams: The parent's sizes with each width of the residual stream, and its heads.
        depths: Numbers of layers to keep, ascending.
        sets: The sets of layers that may stay.
        widths: Feed-forward widths, ascending.
        fixed_widths: Whether the user has named them.
        stock: Whether all layers may be alike.
        ragged: Whether each may have its own sizes.
    """

    streams: tuple[Sizes, ...]
    depths: tuple[int, ...]
    sets: LayerSets
    widths: tuple[int, ...]
    fixed_widths: bool
    stock: bool
    ragged: bool

    @property
    def num_shapes(self) -> int:
        """Number of sizes, apart from the width that the speed decides."""
        return len(self.streams) * sum(map(self.sets.count, self.depths))


def choices_of(config: Any, settings: SpaceSettings, *, round_to: int = 8) -> Choices:
    """Return what sizes are enumerated from; arguments and errors as of `space_of`."""
    parent = Sizes.of(config)
    if True in settings.ragged:
        _resolve(config, {"ragged": True})
    if settings.intermediate_size:
        _resolve(config, {"intermediate_size": max(settings.intermediate_size)})
    depths = _depths(parent, settings, 1)
    sets = LayerSets.of(config, settings.layers or ("best",))
    if not any(map(sets.count, depths)):  # the error that names why
        _resolve(config, {"keep_layers": adjust.spread_layers(len(parent.layers), max(depths))})
    streams = [
        replace(_resolve(config, stream), intermediate_size=parent.intermediate_size)
        for stream in _streams(
            parent, _hidden_sizes(config, settings, _ENUMERATED_FRACTIONS), settings
        )
    ]
    step = min(round_to, parent.intermediate_size)
    narrowest = max(step, parent.intermediate_size // _NARROWEST // step * step)
    every = {*range(narrowest, parent.intermediate_size, step), parent.intermediate_size}
    return Choices(
        streams=tuple(streams),
        depths=tuple(depth for depth in depths if sets.count(depth)),
        sets=sets,
        widths=tuple(sorted(set(settings.intermediate_size or every))),
        fixed_widths=settings.intermediate_size is not None,
        stock=False in settings.ragged,
        ragged=True in settings.ragged,
    )


def _resolve(config: Any, values: dict[str, Any]) -> Sizes:
    try:
        return adjust.resolve(config, AdjustSettings(**values))
    except AdjustError as error:
        remedy = error.remedy.replace("--adjust.", "--search.space.")
        raise AdjustError(error.problem, remedy) from None


def _depths(parent: Sizes, settings: SpaceSettings, least: int) -> tuple[int, ...]:
    most = len(parent.layers)
    depths = settings.num_layers or range(least, most + 1)
    if max(depths) > most:
        raise AdjustError(
            f"{max(depths)} layers are more than the model has.",
            f"The most that --search.space.num-layers can name is {most}.",
        )
    return tuple(sorted(set(depths)))


def _hidden_sizes(config: Any, settings: SpaceSettings, fractions: tuple[float, ...]) -> list[int]:
    """Return the widths that are named, else those of the fractions that the parent can have."""
    if settings.hidden_size:
        return list(settings.hidden_size)
    parent = Sizes.of(config)
    derived = _fractions(parent.hidden_size, fractions, parent.head_size)
    return [each for each in derived if each == parent.hidden_size or _can_have(config, each)]


def _can_have(config: Any, hidden_size: int) -> bool:
    """Whether a width can be expressed: ELECTRA's is not that of its embeddings, if once not."""
    try:
        adjust.resolve(config, AdjustSettings(hidden_size=hidden_size))
    except AdjustError:
        return False
    return True


def _streams(parent: Sizes, hidden: list[int], settings: SpaceSettings) -> list[dict[str, int]]:
    """Return settings of the residual stream: a hidden size, and heads where some are named.

    Raises:
        AdjustError: The heads that are named fit no hidden size.
    """
    if settings.num_heads is None:
        return [{"hidden_size": width} for width in hidden]

    def fits(width: int, heads: int) -> bool:
        return width % heads == 0 and width // heads <= parent.head_size

    found = [
        {"hidden_size": width, "num_heads": heads}
        for width, heads in product(hidden, settings.num_heads)
        if fits(width, heads)
    ]
    if not found:
        fewest = {width: next(n for n in range(1, width + 1) if fits(width, n)) for width in hidden}
        raise AdjustError(
            f"--search.space.num-heads {' '.join(map(str, settings.num_heads))} fits no hidden size"
            f" in heads of {parent.head_size} units or fewer.",
            "The fewest that fit: "
            + ", ".join(f"{heads} for hidden size {width}" for width, heads in fewest.items())
            + ".",
        )
    return found


def _fractions(whole: int, fractions: tuple[float, ...], step: int) -> list[int]:
    """Return fractions of a width, rounded down to multiples of a step, and the whole width."""
    step = min(step, whole)
    widths = [max(step, int(whole * part) // step * step) for part in fractions[:-1]]
    return sorted({*widths, whole})
