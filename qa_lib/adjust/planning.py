"""From sizes to a pruning plan: units scored, the best kept, folds measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qa_lib.adjust import importance
from qa_lib.adjust.calibrate import Batch, Statistics, calibrate
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.fold import measure_fold
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.moments import measure_moments
from qa_lib.adjust.plan import Coupling, Fold, Indices, Keep, Plan
from qa_lib.adjust.ragged_sizes import redistribute
from qa_lib.adjust.seams import Repair, Seams
from qa_lib.adjust.selection import cut_readers, readers
from qa_lib.adjust.sizes import Sizes
from qa_lib.adjust.surgery import changed_tensors, drop_layers
from qa_lib.config import AdjustSettings

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
        settings: How to score (`importance`), whether to `fold` and `refit`, and in steps of how
            many units (`round_to`) ragged layers share them; the defaults where None.
        parent_sha256: The parent's fingerprint.
        vocabulary: The tokens that stay; all where None.
        seams: The model's, where they were measured before.
        seed: Of `random` importance.

    Raises:
        AdjustError: The model's family is not supported.
    """
    settings = settings or AdjustSettings()
    refits = settings.fold and settings.refit
    repair = (seams or Seams(model, batches)).repair(sizes.layers) if refits else Repair()
    short = drop_layers(model, sizes.layers, repair.state())
    groups = groups_of(short.config)
    statistics = _statistics(short, groups, batches, settings)
    scores = importance.score(
        groups,
        settings.importance,
        weights=short.state_dict(),
        statistics=statistics,
        folds=settings.fold,
        seed=seed,
    )
    sizes = redistribute(scores, sizes, settings.round_to)
    keep = importance.choose(groups, scores, sizes, vocabulary)
    fold = Fold()
    if settings.fold:
        names = [name for _, name in cut_readers(groups, keep)]
        moments = measure_moments(short, names, batches) if refits else None
        fold = measure_fold(
            short, groups, keep, statistics, batches, moments=moments, repair=repair
        )
    return Plan(
        family=model.config.model_type,
        parent_sha256=parent_sha256,
        importance=settings.importance,
        keep=keep,
        scores={name: tuple(values.float().tolist()) for name, values in scores.items()},
        groups=_couplings(groups, keep),
        fold=fold,
        changed=changed_tensors(groups, keep, fold),
    )


def _statistics(
    model: PreTrainedModel, groups: Groups, batches: Iterable[Batch], settings: AdjustSettings
) -> dict[str, Statistics]:
    """Run the calibration windows if scores or folds need them."""
    method = settings.importance
    if method in ("magnitude", "random") and not settings.fold:
        return {}
    names = [name for _, name in readers(groups)]
    queries = [names[0] for names in groups.queries]
    return calibrate(model, names, queries, batches, gradients=method == "taylor")


def _couplings(groups: Groups, keep: Keep) -> dict[str, Coupling]:
    return {
        group.name: Coupling(
            width=group.width,
            kept=len(keep.of(group)),
            dimensions=tuple(f"{axis.tensor}[{axis.dim}]" for axis in group.axes),
        )
        for group in groups
    }
