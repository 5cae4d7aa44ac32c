"""Check machine, cluster, versions, storage, model and data before a job needs them.

    for finding in doctor.examine(settings):
        print(finding)

A probe runs in the driver and on every node of the cluster and returns facts; pure functions turn
facts into findings.
"""

from qa_lib.doctor.checks import examine, require
from qa_lib.doctor.connectivity import check_address
from qa_lib.doctor.diagnosis import check_resources, diagnose
from qa_lib.doctor.finding import Finding
from qa_lib.doctor.probe import NodeFacts, check_shared_storage, probe

__all__ = [
    "Finding",
    "NodeFacts",
    "check_address",
    "check_resources",
    "check_shared_storage",
    "diagnose",
    "examine",
    "probe",
    "require",
]
