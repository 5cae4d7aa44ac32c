"""From sizes to a plan: score every unit on calibration windows, keep the best, measure folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qa_lib.adjust import importance
from qa_lib.adjust.calibrate import Batch, Statistics, calibrate
from qa_lib.adjust.coupling import label
from qa_lib.adjust.fold import fold
from qa_lib.adjust.groups import Dimensions
from qa_lib.adjust.plan import Coupling, Fold, Indices, Plan
from qa_lib.adjust.ragged_sizes import distribute
from qa_lib.adjust.sizes import Sizes
from qa_lib.adjust.surgery import changes, drop_layers
from qa_lib.config import ImportanceMethod

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def make_plan(
    model: PreTrainedModel,
    sizes: Sizes,
    batches: Sequence[Batch],
    *,
    parent_sha256: str,
    vocabulary: Indices | None = None,
    method: ImportanceMethod = "taylor",
    folds: bool = True,
    round_to: int = 8,
    seed: int = 0,
) -> Plan:
    """Decide which units stay.

    Layers go first; the units of those that stay are scored, and their folds measured, without
    them.

    Args:
        model: The parent, in evaluation mode.
        sizes: What it is to be cut to.
        batches: Calibration windows, as `qa_lib.windows.collate` returns them, labels included.
        parent_sha256: Its fingerprint.
        vocabulary: The tokens that stay; all where None.
        method: How units are scored.
        folds: Whether to fold removed units' means into biases, and to refit LayerNorms.
        round_to: Where a ragged model's layers share their units out, they do in steps of so many.
        seed: Of `random` importance.

    Raises:
        AdjustError: The model's family is not declared.
    """
    short = drop_layers(model, sizes.layers)
    dimensions = label(short.config)
    statistics = _statistics(short, dimensions, batches, method, folds)
    scores = importance.score(
        dimensions,
        method,
        weights=short.state_dict(),
        statistics=statistics,
        folds=folds,
        seed=seed,
    )
    shared = distribute(scores, sizes, round_to)
    keep = importance.choose(dimensions, scores, shared, vocabulary)
    folded = fold(short, dimensions, keep, statistics, batches) if folds else Fold()
    return Plan(
        family=model.config.model_type,
        parent_sha256=parent_sha256,
        importance=method,
        keep=keep,
        scores={name: tuple(values.float().tolist()) for name, values in scores.items()},
        groups={
            group.name: Coupling(
                width=group.width,
                kept=len(keep.of(group)),
                dimensions=tuple(f"{axis.tensor}[{axis.dim}]" for axis in group.axes),
            )
            for group in dimensions.groups
        },
        fold=folded,
        changed=changes(dimensions, keep, folded),
    )


def _statistics(
    model: PreTrainedModel,
    dimensions: Dimensions,
    batches: Sequence[Batch],
    method: ImportanceMethod,
    folds: bool,
) -> dict[str, Statistics]:
    """Run the calibration windows where scores or folds need them."""
    if method in ("magnitude", "random") and not folds:
        return {}
    readers = [name for group in dimensions.groups for name in group.modules("reads")]
    queries = [names[0] for names in dimensions.queries]
    return calibrate(model, readers, queries, batches, gradients=method == "taylor")
