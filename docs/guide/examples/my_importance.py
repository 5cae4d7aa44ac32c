"""A way to score units: how strongly each is active, times the norm of what reads and writes it.

python -m jobs.adjust --model.name runs/mine --adjust.importance my_importance:score ...
"""

import torch

from qa_lib.adjust import Units


def score(units: Units) -> torch.Tensor:
    """Return a score for each unit, of shape (units,)."""
    norms = sum(weight.square().sum(1) for weight in units.weights.values()).sqrt()
    active = sum(place.magnitude for place in units.statistics.values())
    return norms * active
