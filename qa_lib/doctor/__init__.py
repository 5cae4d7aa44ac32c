"""What would fail, before it does: machine, cluster, versions, storage, model and data.

    for finding in doctor.examine(settings):
        print(finding)

A probe runs on every node that Ray has, and in the driver; what the probes bring back is judged
apart from them, by pure functions.
"""

from __future__ import annotations

from qa_lib.doctor.checks import examine, require
from qa_lib.doctor.connectivity import contact
from qa_lib.doctor.diagnosis import fits, judge
from qa_lib.doctor.finding import Finding
from qa_lib.doctor.probe import NodeFacts, probe, shared_storage

__all__ = [
    "Finding",
    "NodeFacts",
    "contact",
    "examine",
    "fits",
    "judge",
    "probe",
    "require",
    "shared_storage",
]
