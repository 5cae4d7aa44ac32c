"""Layer adjustment: a smaller model that any stock transformers loads, unless it is ragged.

settings -> `Sizes` -> `Plan` -> surgery on every dependent tensor and on the config -> proof.
"""

from qa_lib.adjust.calibrate import draw_windows
from qa_lib.adjust.coupling import groups_of
from qa_lib.adjust.extensions import Units, declare_families
from qa_lib.adjust.families import FAMILIES, Family
from qa_lib.adjust.from_settings import resolve
from qa_lib.adjust.groups import Groups
from qa_lib.adjust.plan import Plan
from qa_lib.adjust.planning import make_plan
from qa_lib.adjust.proof import Proof, prove
from qa_lib.adjust.ragged_sizes import spread_evenly
from qa_lib.adjust.shared import SharedCalibration
from qa_lib.adjust.sizes import Sizes, places_of_layers, spread_layers
from qa_lib.adjust.surgery import apply
from qa_lib.adjust.table import table
from qa_lib.adjust.targets import find_sizes

__all__ = [
    "FAMILIES",
    "Family",
    "Groups",
    "Plan",
    "Proof",
    "SharedCalibration",
    "Sizes",
    "Units",
    "apply",
    "declare_families",
    "draw_windows",
    "find_sizes",
    "groups_of",
    "make_plan",
    "places_of_layers",
    "prove",
    "resolve",
    "spread_evenly",
    "spread_layers",
    "table",
]
