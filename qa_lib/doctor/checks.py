"""All checks in order: for `make doctor`, and for a job that is about to start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from itertools import chain

from qa_lib.config import Settings
from qa_lib.doctor.connectivity import check_address, is_http
from qa_lib.doctor.diagnosis import check_encoder, check_resources, check_storage_space, diagnose
from qa_lib.doctor.finding import Finding
from qa_lib.doctor.probe import check_shared_storage, collect, probe, remove_marks, start_probes
from qa_lib.errors import ResourceError
from qa_lib.machines.ray_session import start_ray


def examine(
    settings: Settings, *, thorough: bool = True, scores_answers: bool = True
) -> Iterator[Finding]:
    """Run all checks, yielding each finding at once; stop if Ray is unreachable.

    Args:
        settings: Of the job that is to run.
        thorough: Also import DeepSpeed, and open model and data here; a job does so itself.
        scores_answers: Whether the job ends with scores, and needs the sentence encoder.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        reached = list(check_address(address))
        yield from reached
        if any(finding.verdict == "fault" for finding in reached):
            return
        if is_http(address):
            yield Finding(
                "nodes",
                "note",
                f"{address} takes jobs only; its nodes were not checked",
                "`make submit JOB=doctor` checks them from inside the cluster.",
            )
        else:
            start_ray()
    if scores_answers:
        yield check_resources(settings)
    token = secrets.token_hex(8)
    joined = bool(address) and not is_http(address)
    pending = start_probes(settings, token) if joined else {}
    facts = [probe(settings, "this process", token, thorough=thorough)]
    if joined:
        nodes, problems = collect(pending)
        facts += nodes
        yield from problems
        yield check_shared_storage(settings, token, [node.name for node in nodes])
    remove_marks(settings, token)
    yield from diagnose(settings, facts, trains=scores_answers)
    if scores_answers:
        yield from check_encoder(settings)


def require(settings: Settings, *, scores_answers: bool = False) -> None:
    """Check the environment before a job starts.

    On one machine only disk space and the sentence encoder are checked: the job itself soon reports
    everything else, but needs these two last.

    Args:
        settings: Of the job.
        scores_answers: Whether it makes a model first and ends with scores.

    Raises:
        ResourceError: A check failed; every fault is listed with its remedy.
    """
    if settings.skip_doctor:
        return
    if os.environ.get("RAY_ADDRESS"):
        findings = examine(settings, thorough=False, scores_answers=scores_answers)
    else:
        encoder = check_encoder(settings) if scores_answers else iter(())
        findings = chain(check_storage_space(settings, trains=scores_answers), encoder)
    faults = [finding for finding in findings if finding.verdict == "fault"]
    if faults:
        raise ResourceError(
            "\n".join(f"{fault.what}: {fault.message}" for fault in faults),
            "\n  ".join([*(fault.remedy for fault in faults), "--skip-doctor starts anyway."]),
        )
