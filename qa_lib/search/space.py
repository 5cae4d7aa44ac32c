"""The search space: settings of an adjustment and of the recovery after it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from qa_lib import adjust
from qa_lib.adjust import Sizes
from qa_lib.config import AdjustSettings, ImportanceMethod
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from qa_lib.config import SpaceSettings

_INTERMEDIATE_FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # of the parent's size
_HIDDEN_FRACTIONS = (0.75, 1.0)


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
    num_layers = settings.num_layers or tuple(range(math.ceil(most / 2), most + 1))
    if max(num_layers) > most:
        raise AdjustError(
            f"{max(num_layers)} layers are more than the model has.",
            f"The most that --search.space.num-layers can name is {most}.",
        )
    hidden = settings.hidden_size or _fractions(
        parent.hidden_size, _HIDDEN_FRACTIONS, parent.head_size
    )
    intermediate = settings.intermediate_size or _fractions(
        parent.intermediate_size, _INTERMEDIATE_FRACTIONS, round_to
    )
    kept = dict.fromkeys(
        _kept(most, count, way) for count, way in product(num_layers, settings.layers)
    )
    sizes: dict[Sizes, None] = {}  # in order, without duplicates
    for layers, width, inner, ragged in product(kept, hidden, intermediate, settings.ragged):
        if ragged and inner == parent.intermediate_size:
            continue  # nothing for layers to share out
        values = {"hidden_size": width, "intermediate_size": inner, "ragged": ragged}
        try:
            sizes[adjust.resolve(config, AdjustSettings(keep_layers=layers, **values))] = None
        except AdjustError as error:
            remedy = error.remedy.replace("--adjust.", "--search.space.")
            raise AdjustError(error.problem, remedy) from None
    sizes.pop(parent, None)
    if not sizes:
        raise AdjustError(
            "The search space holds no size but the parent's own: there is nothing to search.",
            "Give smaller sizes, for example --search.space.intermediate-size"
            f" {parent.intermediate_size // 2} {parent.intermediate_size}.",
        )
    return Space(tuple(sizes), settings.importance, settings.learning_rate, settings.distill_weight)


def _kept(num_parent: int, num_kept: int, way: str) -> tuple[int, ...]:
    """Return the layers to keep: the first ones, or ones spread evenly from first to last."""
    if way == "first" or num_kept == 1:
        return tuple(range(num_kept))
    return tuple(round(i * (num_parent - 1) / (num_kept - 1)) for i in range(num_kept))


def _fractions(whole: int, fractions: tuple[float, ...], step: int) -> list[int]:
    """Return fractions of a width, rounded down to multiples of a step, and the whole width."""
    step = min(step, whole)
    widths = [max(step, int(whole * part) // step * step) for part in fractions[:-1]]
    return sorted({*widths, whole})
