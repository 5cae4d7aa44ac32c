"""The sets of layers that may stay, counted without being listed: 24 layers have 16 million."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from qa_lib import adjust

Layers = tuple[int, ...]
Way = Literal["best", "first", "spread"]


@dataclass(frozen=True)
class LayerSets:
    """Sets of a parent's layers, in ascending order.

    Attributes:
        places: By place in the smaller model, the layers that can take it.
        ways: `best` is any set; `first` and `spread` are one each.
    """

    places: tuple[Layers, ...]
    ways: tuple[Way, ...]

    @classmethod
    def of(cls, config: Any, ways: tuple[Way, ...]) -> LayerSets:
        """Return the sets of a parent's layers."""
        return cls(adjust.places_of_layers(config), ways)

    def __contains__(self, layers: Layers) -> bool:
        """Say whether a set of layers may stay."""
        if "best" not in self.ways:
            return layers in self._named(len(layers))
        return self._fits(layers)

    def count(self, depth: int) -> int:
        """Return the number of sets of a depth."""
        if "best" not in self.ways:
            return len(self._named(depth))
        whole = range(len(self.places))
        ending = [int(layer in self.places[0]) for layer in whole]  # sets so far, by last layer
        for place in range(1, depth):
            ending = [sum(ending[:layer]) * (layer in self.places[place]) for layer in whole]
        return sum(ending)

    def of_depth(self, depth: int) -> Iterator[Layers]:
        """Yield the sets of a depth, those of the first layers first."""
        if "best" not in self.ways:
            yield from self._named(depth)
            return
        yield from self._beginning((), depth)

    def _beginning(self, layers: Layers, depth: int) -> Iterator[Layers]:
        if len(layers) == depth:
            yield layers
            return
        for layer in self.places[len(layers)]:
            if not layers or layer > layers[-1]:
                yield from self._beginning((*layers, layer), depth)

    def _named(self, depth: int) -> list[Layers]:
        whole = tuple(range(len(self.places)))
        sets = {"first": whole[:depth], "spread": adjust.spread_layers(len(whole), depth)}
        return [each for each in dict.fromkeys(sets[way] for way in self.ways) if self._fits(each)]

    def _fits(self, layers: Layers) -> bool:
        return all(layer in self.places[place] for place, layer in enumerate(layers))
