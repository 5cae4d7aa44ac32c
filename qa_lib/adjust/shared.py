"""Plans of many sizes from one calibration of their parent.

`make_plan` measures the layers that stay for each plan. Here scores, moments and seams are measured
on the whole parent, once, and every plan is solved from them: after the repair of its seams a model
of fewer layers sees nearly what those layers see in the parent. A plan then costs a second or less,
so that a search can cut every size it considers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from qa_lib.adjust import importance
from qa_lib.adjust.calibrate import Batch, Statistics
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.fold import fit_norms, measure_fold
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.moments import Moments, measure_moments
from qa_lib.adjust.plan import Fold, Indices, Keep, Norm, Plan
from qa_lib.adjust.planning import couplings, scores_of, statistics_of
from qa_lib.adjust.seams import Repair, Seams
from qa_lib.adjust.selection import cut_readers, readers
from qa_lib.adjust.sizes import Sizes
from qa_lib.adjust.surgery import build, changed_tensors, cut, drop_layers
from qa_lib.config import AdjustSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Value = TypeVar("_Value")


class SharedCalibration:
    """A parent, and what plans need to know of it: measured when it is needed, and kept."""

    def __init__(
        self,
        model: PreTrainedModel,
        batches: Iterable[Batch],
        settings: AdjustSettings | None = None,
        *,
        parent_sha256: str = "",
        seams: Seams | None = None,
        seed: int = 0,
    ) -> None:
        """Measure nothing yet.

        Args:
            model: The parent, in evaluation mode.
            batches: Calibration windows, labels included; iterated over several times.
            settings: `importance`, `fold`, `refit` and `seams`, as of `make_plan`; units go in one
                step.
            parent_sha256: The parent's fingerprint.
            seams: The model's, of which only what a plan needs is measured; None: all are.
            seed: Of `random` importance.
        """
        self.model, self.batches, self.seed = model, batches, seed
        self.settings = settings or AdjustSettings()
        self.parent_sha256 = parent_sha256
        self.seams = seams or Seams(model, batches)
        self._measures_all_seams = seams is None
        self._groups = groups_of(model.config)
        self._statistics: dict[str, Statistics] = {}
        self._scores: importance.Scores = {}
        self._moments: dict[str, Moments] = {}
        self._norms: dict[tuple[Indices, Indices], dict[str, Norm]] = {}

    def plan(self, sizes: Sizes) -> Plan:
        """Decide which units stay, and what the rest takes over.

        Args:
            sizes: The sizes to cut it to; layers of a ragged model keep exactly these.
        """
        _, groups, keep, fold = self._solve(sizes)
        named = self._of_kept(self._scores, sizes.layers)
        return Plan(
            family=self.model.config.model_type,
            parent_sha256=self.parent_sha256,
            importance=self.settings.importance,
            keep=keep,
            scores={name: tuple(values.float().tolist()) for name, values in named.items()},
            groups=couplings(groups, keep),
            fold=fold,
            changed=changed_tensors(groups, keep, fold),
        )

    def cut(self, sizes: Sizes) -> PreTrainedModel:
        """Return the parent cut to these sizes, as its plan says."""
        short, groups, keep, fold = self._solve(sizes)
        state = cut(short.state_dict(), groups, keep, fold)
        return build(sizes.apply(self.model.config), state)

    def _solve(self, sizes: Sizes) -> tuple[PreTrainedModel, Groups, Keep, Fold]:
        """Return the parent without the layers that go, its groups, what stays, and the fold."""
        settings, layers = self.settings, sizes.layers
        self._score()
        refits, repair = settings.refits, Repair()
        if settings.repairs_seams:
            if self._measures_all_seams:
                self.seams.measure_gaps()
            repair = self.seams.repair(layers)
        short = drop_layers(self.model, layers, repair.state())
        groups = groups_of(short.config)
        keep = importance.choose(groups, self._of_kept(self._scores, layers), sizes)
        if not settings.fold:
            return short, groups, keep, Fold()
        if refits:
            self._measure({self._in_parent(name, layers) for _, name in cut_readers(groups, keep)})
        fold = measure_fold(
            short,
            groups,
            keep,
            self._of_kept(self._statistics, layers),
            self.batches,
            moments=self._of_kept(self._moments, layers) if refits else None,
            repair=repair,
            norms=self._fitted_norms(sizes, repair)
            if len(keep.hidden) < groups.hidden.width
            else None,
        )
        return short, groups, keep, fold

    def _score(self) -> None:
        """Score the parent's units, once."""
        if self._scores:
            return
        self._statistics = statistics_of(self.model, self.batches, self.settings)
        self._scores = scores_of(self.model, self._statistics, self.settings, self.seed)

    def _measure(self, names: set[str]) -> None:
        """Measure the moments of these maps' inputs, where they are not known; all at once.

        What one model of some sizes reads, most others read too: all maps of the same groups.
        """
        missing = names - self._moments.keys()
        if not missing:
            return
        kinds = {_kind(self._groups, name) for name in missing}
        wanted = [name for _, name in readers(self._groups) if _kind(self._groups, name) in kinds]
        new = [name for name in wanted if name not in self._moments]
        self._moments |= measure_moments(self.model, new, self.batches)

    def _fitted_norms(self, sizes: Sizes, repair: Repair) -> dict[str, Norm]:
        """Return the LayerNorms over the kept dimensions: those of the layers that stay.

        A layer before a gap ends in the gap's last LayerNorm.
        """
        whole = Sizes.of(self.model.config)
        wide = Sizes(whole.layers, sizes.hidden_size, sizes.num_heads, whole.intermediate_size)
        keep = importance.choose(self._groups, self._scores, wide)
        key = keep.hidden, keep.head
        if key not in self._norms:
            self._norms[key] = fit_norms(self.model, self._groups, keep, self.batches)
        norms = self._of_kept(self._norms[key], sizes.layers)
        following = (*sizes.layers[1:], self._groups.num_layers)
        for name in repair.norms:
            place = self._groups.layer_of(name)
            assert place is not None, name
            source = self._groups.rename(name, {place: following[place] - 1})
            norms[name] = self._norms[key][str(source)]
        return norms

    def _of_kept(self, values: Mapping[str, _Value], layers: tuple[int, ...]) -> dict[str, _Value]:
        """Rename what belongs to a kept layer by its place; leave out what belongs to others."""
        place = {layer: index for index, layer in self._groups.stored(layers).items()}
        named = {}
        for name, value in values.items():
            layer, dot, kind = name.partition(".")
            if layer.isdigit():  # of a group
                new = f"{place[int(layer)]}{dot}{kind}" if int(layer) in place else None
            else:  # of a module
                new = self._groups.rename(name, place)
            if new is not None:
                named[new] = value
        return named

    def _in_parent(self, name: str, layers: tuple[int, ...]) -> str:
        """Return the parent's name of a module of the model with only these layers."""
        return str(self._groups.rename(name, self._groups.stored(layers)))


def _kind(groups: Groups, name: str) -> Any:
    """Return what a module is called in each layer."""
    layer = groups.layer_of(name)
    return name if layer is None else name[len(f"{groups.layer_prefix}{layer}") :]
