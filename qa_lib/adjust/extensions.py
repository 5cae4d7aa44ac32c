"""What users add in files of their own: a way to score units, and families of models.

    --adjust.importance my_module:my_score     a function of `Units` that returns their scores
    --adjust.families my_families.py           a file with FAMILIES = {"name": Family(...)}

Both run as Python code, by the wish of whoever names them.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.families import FAMILIES, Family
from qa_lib.errors import AdjustError

if TYPE_CHECKING:
    import torch

    from qa_lib.adjust.calibrate import Statistics

_BUILT_IN = frozenset(FAMILIES)


@dataclass(frozen=True, eq=False)
class Units:
    """What a scoring function knows of the units of one group.

    Attributes:
        name: `hidden`, or `LAYER.query_key`, `LAYER.value`, `LAYER.intermediate`; `head`.
        num_units: How many there are.
        weights: The weights of each unit, float64 of shape (units, weights of a unit), by tensor
            of the state dict and its dimension that counts the units, as `TENSOR[DIMENSION]`.
        statistics: By module, the mean and magnitude of the units' activations there, and per
            calibration window their products with the gradients of the loss, float64.
    """

    name: str
    num_units: int
    weights: Mapping[str, torch.Tensor]
    statistics: Mapping[str, Statistics]


Scorer = Callable[[Units], "torch.Tensor"]


@cache
def find_scorer(name: str) -> Scorer:
    """Return the function that MODULE:FUNCTION names; modules of the current folder count.

    Raises:
        AdjustError: The module cannot be imported, or has no such function.
    """
    module_name, _, function = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # `qa` starts elsewhere than `python -m` does
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise AdjustError(
            f"--adjust.importance {name}: {module_name} cannot be imported "
            f"({type(error).__name__}: {error}).",
            "Name a module in the current folder or in the environment.",
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise AdjustError(
            f"--adjust.importance {name}: {module_name} has no function {function}.",
            f"Define {function} in {getattr(module, '__file__', module_name)}.",
        )
    return found


def scores_by(name: str, units: Units) -> torch.Tensor:
    """Return the scores of a user's function, float64 of shape (1 or windows, units).

    Raises:
        AdjustError: The function fails, or does not return a finite score for each unit.
    """
    import torch

    try:
        found: Any = find_scorer(name)(units)
    except AdjustError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise AdjustError(
            f"--adjust.importance {name} failed on {units.name}: {type(error).__name__}: {error}.",
            "The guide has a function that works (docs/guide/adjust.md).",
        ) from error
    shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    num_units = units.num_units
    fits = isinstance(shape, tuple) and (shape == (num_units,) or shape[1:] == (num_units,))
    if not fits or 0 in shape:
        raise AdjustError(
            f"--adjust.importance {name} returned {shape} for {units.name}, not a tensor of shape "
            f"({num_units},) or (windows, {num_units}).",
            "Return a score for each unit, or signed effects by window.",
        )
    found = found.detach().double().cpu()
    if not found.isfinite().all():
        raise AdjustError(
            f"--adjust.importance {name} returned scores for {units.name} that are not finite.",
            "Guard divisions and logarithms in it.",
        )
    return found if found.ndim == 2 else found[None]


def declare_families(path: str | None) -> None:
    """Add the families of a user's file to those that can be adjusted; of None, none.

    Raises:
        AdjustError: The file fails, or declares no families, or one that is built in.
    """
    if path is None:
        return
    remedy = 'Declare them as FAMILIES = {"NAME": Family(...)} (docs/guide/adjust.md).'
    if not Path(path).is_file():
        raise AdjustError(f"--adjust.families {path}: there is no such file.", remedy)
    try:
        declared = runpy.run_path(path).get("FAMILIES")
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        raise AdjustError(
            f"--adjust.families {path} failed: {type(error).__name__}: {error}.", remedy
        ) from error
    if not isinstance(declared, dict) or not declared:
        raise AdjustError(f"--adjust.families {path} declares no FAMILIES.", remedy)
    for name, family in declared.items():
        if not isinstance(name, str) or not isinstance(family, Family):
            raise AdjustError(f"--adjust.families {path}: {name!r} is no Family.", remedy)
        if name in _BUILT_IN:
            raise AdjustError(
                f"--adjust.families {path} declares {name}, which is built in.",
                "Leave it out of the file.",
            )
    FAMILIES.update(declared)
