"""Layer adjustment: a smaller model that any stock transformers loads, unless it is to be ragged.

settings -> `Sizes` -> `Plan` -> surgery on every dependent tensor and on the config -> proof.
"""

from qa_lib.adjust import vocabulary
from qa_lib.adjust.calibrate import draw_windows
from qa_lib.adjust.cost import LATENCY_SHAPES, measure_latency
from qa_lib.adjust.families import FAMILIES
from qa_lib.adjust.groups import Dimensions
from qa_lib.adjust.plan import Plan
from qa_lib.adjust.planning import make_plan
from qa_lib.adjust.proof import Proof, prove
from qa_lib.adjust.ragged_sizes import even, resolve
from qa_lib.adjust.sizes import Sizes
from qa_lib.adjust.surgery import apply
from qa_lib.adjust.table import table
from qa_lib.adjust.targets import find
from qa_lib.adjust.tracing import trace

__all__ = [
    "FAMILIES",
    "LATENCY_SHAPES",
    "Dimensions",
    "Plan",
    "Proof",
    "Sizes",
    "apply",
    "draw_windows",
    "even",
    "find",
    "make_plan",
    "measure_latency",
    "prove",
    "resolve",
    "table",
    "trace",
    "vocabulary",
]
