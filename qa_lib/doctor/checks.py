"""All checks in their order, for a person and for a job that is about to start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from itertools import chain

from qa_lib.config import Settings
from qa_lib.doctor.connectivity import contact, is_http
from qa_lib.doctor.diagnosis import fits, judge, judge_encoder, judge_storage
from qa_lib.doctor.finding import Finding
from qa_lib.doctor.probe import collect, probe, remove_marks, shared_storage, start_probes
from qa_lib.errors import ResourceError
from qa_lib.machines.ray_session import start_ray


def examine(
    settings: Settings, *, thoroughly: bool = True, scores_answers: bool = True
) -> Iterator[Finding]:
    """Yield what was found, as it is found; where Ray does not answer, nothing after that.

    Args:
        settings: Of the job that is to run.
        thoroughly: Also import DeepSpeed, and open model and data here; a job does so itself.
        scores_answers: Whether the job ends with scores, and needs the sentence encoder.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        reached = list(contact(address))
        yield from reached
        if any(finding.verdict == "fault" for finding in reached):
            return
        if is_http(address):
            yield Finding(
                "nodes",
                "note",
                f"{address} takes jobs only; its nodes were not looked at",
                "`make submit JOB=doctor` looks from inside.",
            )
        else:
            start_ray()
    yield fits(settings)
    token = secrets.token_hex(8)
    joined = bool(address) and not is_http(address)
    waiting = start_probes(settings, token) if joined else {}
    facts = [probe(settings, "this process", token, thoroughly=thoroughly)]
    if joined:
        nodes, silent = collect(waiting)
        facts += nodes
        yield from silent
        yield shared_storage(settings, token, [node.name for node in nodes])
    remove_marks(settings, token)
    yield from judge(settings, facts)
    if scores_answers:
        yield from judge_encoder(settings)


def require(settings: Settings, *, scores_answers: bool = False) -> None:
    """Refuse to start a job that would fail for what is around it; jobs call it first.

    On this machine alone a job finds out by itself in time; only its disk is looked at, and the
    sentence encoder, where it is needed last.

    Args:
        settings: Of the job.
        scores_answers: Whether it makes a model first and ends with scores.

    Raises:
        ResourceError: With every fault and its remedy.
    """
    if settings.skip_doctor:
        return
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if on_cluster:
        findings = examine(settings, thoroughly=False, scores_answers=scores_answers)
    else:
        encoder = judge_encoder(settings) if scores_answers else ()
        findings = chain(judge_storage(settings), encoder)
    faults = [finding for finding in findings if finding.verdict == "fault"]
    if faults:
        raise ResourceError(
            "\n".join(f"{fault.what}: {fault.message}" for fault in faults),
            "\n  ".join(
                [*(fault.remedy for fault in faults), "--skip-doctor starts all the same."]
            ),
        )
