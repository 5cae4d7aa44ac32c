"""What a search can choose: settings of an adjustment and of the recovery after it."""

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

_DERIVED_WIDTHS = (0.25, 0.5, 0.75, 1.0)  # intermediate sizes, as fractions of the parent's
_DERIVED_HIDDEN = (0.75, 1.0)


@dataclass(frozen=True)
class Setting:
    """One point of the space: what is cut, and how the rest is recovered.

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
        """Return plain values, which `from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setting:
        """Read back what `to_dict` returned, from JSON too."""
        return cls(**values | {"sizes": Sizes.from_dict(values["sizes"])})


@dataclass(frozen=True)
class Space:
    """The settings that a search can choose from.

    Attributes:
        sizes: Every combination of layers and widths, the parent's own left out; ragged ones even,
            as they are before units are scored.
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
        settings: What stands in the recipe; sizes that are none are derived from the parent's.
        round_to: Derived intermediate sizes are multiples of this.

    Raises:
        AdjustError: A size cannot be had from this parent, or nothing is left to choose.
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
        parent.hidden_size, _DERIVED_HIDDEN, parent.head_size
    )
    intermediate = settings.intermediate_size or _fractions(
        parent.intermediate_size, _DERIVED_WIDTHS, round_to
    )
    kept = dict.fromkeys(
        _kept(most, count, way) for count, way in product(num_layers, settings.layers)
    )
    found: dict[Sizes, None] = {}
    for layers, width, inner, ragged in product(kept, hidden, intermediate, settings.ragged):
        if ragged and inner == parent.intermediate_size:
            continue  # nothing that layers could share out
        wish = AdjustSettings(
            keep_layers=layers, hidden_size=width, intermediate_size=inner, ragged=ragged
        )
        try:
            found[adjust.resolve(config, wish)] = None
        except AdjustError as error:
            flag, ours = "--adjust.", "--search.space."
            raise AdjustError(error.problem, error.remedy.replace(flag, ours)) from None
    found.pop(parent, None)
    if not found:
        raise AdjustError(
            "The search space holds no size but the parent's own: there is nothing to search.",
            "Give smaller sizes, for example --search.space.intermediate-size"
            f" {parent.intermediate_size // 2} {parent.intermediate_size}.",
        )
    return Space(tuple(found), settings.importance, settings.learning_rate, settings.distill_weight)


def _kept(num_parent: int, num_kept: int, way: str) -> tuple[int, ...]:
    """Return the layers to keep: the first, or as many spread from the first to the last."""
    if way == "first" or num_kept == 1:
        return tuple(range(num_kept))
    return tuple(round(i * (num_parent - 1) / (num_kept - 1)) for i in range(num_kept))


def _fractions(whole: int, fractions: tuple[float, ...], step: int) -> list[int]:
    """Return fractions of a width as multiples of a step, the whole itself whatever it is."""
    step = min(step, whole)
    widths = [max(step, int(whole * part) // step * step) for part in fractions[:-1]]
    return sorted({*widths, whole})
