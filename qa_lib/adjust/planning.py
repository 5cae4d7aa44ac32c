"""From sizes to a pruning plan: units scored, the best kept, folds measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qa_lib.adjust import importance
from qa_lib.adjust.calibrate import Batch, Loss, Statistics, calibrate, span_loss
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.divergence import divergence_loss, taught
from qa_lib.adjust.fold import measure_fold
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.moments import Moments, measure_moments
from qa_lib.adjust.plan import Coupling, Fold, Indices, Keep, Plan
from qa_lib.adjust.ragged_sizes import redistribute
from qa_lib.adjust.seams import Repair, Seams
from qa_lib.adjust.selection import cut_readers, readers
from qa_lib.adjust.sizes import Sizes
from qa_lib.adjust.steps import scattered, sizes_between
from qa_lib.adjust.surgery import build, changed_tensors, cut, drop_layers
from qa_lib.config import AdjustSettings
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def make_plan(
    model: PreTrainedModel,
    sizes: Sizes,
    batches: Iterable[Batch],
    settings: AdjustSettings | None = None,
    *,
    parent_sha256: str = "",
    vocabulary: Indices | None = None,
    seams: Seams | None = None,
    seed: int = 0,
) -> Plan:
    """Decide which units stay, and what the rest takes over from those that go.

    Layers go first, and the seams are repaired; units are scored, and folds and refits measured, on
    the layers that stay.

    Args:
        model: The parent, in evaluation mode.
        sizes: The sizes to cut it to.
        batches: Calibration windows, as `qa_lib.windows.collate` returns them, labels included;
            iterated over several times.
        settings: How to score (`importance`), in how many `steps`, whether to `fold` and `refit`,
            and in steps of how many units (`round_to`) ragged layers share them; the defaults
            where None.
        parent_sha256: The parent's fingerprint.
        vocabulary: The tokens that stay; all where None.
        seams: The model's, where they were measured before.
        seed: Of `random` importance.

    Raises:
        AdjustError: The model's family is not supported, or its weights are of half precision.
    """
    if model.dtype.itemsize < 4:
        raise AdjustError(
            f"The weights are {model.dtype}, which would round what is folded into them.",
            "Load the model in float32: model.float().",
        )
    settings = settings or AdjustSettings()
    repair = Repair()
    if settings.repairs_seams:
        repair = (seams or Seams(model, batches)).repair(sizes.layers)
    short = _Short(model, sizes, batches, settings, repair)
    scores = short.scores(sizes, seed)
    sizes = redistribute(scores, sizes, settings.round_to)
    keep = importance.choose(short.groups, scores, sizes, vocabulary)
    fold = short.fold(keep)
    return Plan(
        family=model.config.model_type,
        parent_sha256=parent_sha256,
        importance=settings.importance,
        keep=keep,
        scores={name: tuple(values.float().tolist()) for name, values in scores.items()},
        groups=couplings(short.groups, keep),
        fold=fold,
        changed=changed_tensors(short.groups, keep, fold),
    )


class _Short:
    """The parent without the layers that go, its seams repaired: what units are scored on."""

    def __init__(
        self,
        parent: PreTrainedModel,
        sizes: Sizes,
        batches: Iterable[Batch],
        settings: AdjustSettings,
        repair: Repair,
    ) -> None:
        self._parent, self._batches = parent, batches
        self._settings, self._repair = settings, repair
        self.model = drop_layers(parent, sizes.layers, repair.state())
        self.groups = groups_of(self.model.config)
        self.statistics = statistics_of(self.model, batches, settings)
        self._moments: dict[str, Moments] = {}  # by the map that reads the units

    def scores(self, sizes: Sizes, seed: int) -> importance.Scores:
        """Score the units; in several steps, anew on what each step leaves."""
        settings = self._settings
        scores = scores_of(self.model, self.statistics, settings, seed)
        windows = taught(self._parent, self._batches) if settings.steps > 1 else []
        for between in sizes_between(self._parent.config, sizes, settings.steps, settings.round_to):
            keep = importance.choose(self.groups, scores, between)
            state = cut(self.model.state_dict(), self.groups, keep, self.fold(keep))
            child = build(between.apply(self._parent.config), state)
            statistics = statistics_of(child, windows, settings, divergence_loss)
            scores = scattered(scores_of(child, statistics, settings, seed), self.groups, keep)
        return scores

    def fold(self, keep: Keep) -> Fold:
        """Measure what the units of a choice take over from the others."""
        settings = self._settings
        if not settings.fold:
            return Fold()
        if settings.refits:
            names = [name for _, name in cut_readers(self.groups, keep)]
            new = [name for name in names if name not in self._moments]
            self._moments |= measure_moments(self.model, new, self._batches)
        return measure_fold(
            self.model,
            self.groups,
            keep,
            self.statistics,
            self._batches,
            moments=self._moments if settings.refits else None,
            repair=self._repair,
        )


def scores_of(
    model: PreTrainedModel, statistics: dict[str, Statistics], settings: AdjustSettings, seed: int
) -> importance.Scores:
    """Score all units as the settings say."""
    return importance.score(
        groups_of(model.config),
        settings.importance,
        weights=model.state_dict(),
        statistics=statistics,
        folds=settings.fold,
        seed=seed,
    )


def statistics_of(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    settings: AdjustSettings,
    loss: Loss = span_loss,
) -> dict[str, Statistics]:
    """Run the calibration windows if scores or folds need them."""
    method, groups = settings.importance, groups_of(model.config)
    if method in ("magnitude", "random") and not settings.fold:
        return {}
    names = [name for _, name in readers(groups)]
    gradients = method == "taylor" or ":" in method
    queries = [names[0] for names in groups.queries]
    return calibrate(model, names, queries, batches, gradients=gradients, loss=loss)


def couplings(groups: Groups, keep: Keep) -> dict[str, Coupling]:
    """Return what each group couples, and how many of its units stay, by its name."""
    return {
        group.name: Coupling(
            width=group.width,
            kept=len(keep.of(group)),
            dimensions=tuple(f"{axis.tensor}[{axis.dim}]" for axis in group.axes),
        )
        for group in groups
    }
