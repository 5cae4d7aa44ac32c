"""Notices that a rank's process or machine is about to be taken away.

A cloud gives half a minute: enough for a checkpoint after the current step. SIGTERM reaches a rank
where a cluster node shuts down; Google's metadata server tells a spot machine before that. Ray's
own notice, a draining node, is the driver's to see: `qa_lib.training.nodes`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from pathlib import Path

METADATA_URL = "QA_METADATA_URL"
"""Environment variable that names another metadata server, for tests."""

MACHINE, PROCESS = "machine", "process"

_GOOGLE = "http://metadata.google.internal/computeMetadata/v1"
_PRODUCT = Path("/sys/class/dmi/id/product_name")  # says where this runs, without a request
_ANSWER_S = 60
_RETRY_S = 2.0
_given: set[str] = set()


def given() -> str:
    """Return what is about to be taken away, `MACHINE` or `PROCESS`, or ""."""
    return next((what for what in (MACHINE, PROCESS) if what in _given), "")


def heed_sigterm() -> None:
    """Take SIGTERM for a notice, from now on. Only the main thread can: call it there.

    Where Ray runs on one machine alone it never arrives: the command itself heeds it.
    """
    signal.signal(signal.SIGTERM, lambda *_: _given.add(PROCESS))


def heed_metadata() -> None:
    """Ask Google's metadata server in a thread, where there is one.

    Source:
        Google Cloud documentation, Spot VMs: "Detect if a VM was preempted"; the metadata server's
        wait_for_change.
    """
    url = os.environ.get(METADATA_URL) or (_GOOGLE if _is_google() else "")
    if url:
        threading.Thread(target=_ask, args=(url,), daemon=True, name="metadata").start()


def _is_google() -> bool:
    try:
        return "Google" in _PRODUCT.read_text()
    except OSError:
        return False


def _ask(url: str) -> None:
    """Wait until the server says that this machine is preempted; it answers when that changes."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    query = ""  # the first answer comes at once: the change may have been before
    while MACHINE not in _given:
        request = urllib.request.Request(
            f"{url}/instance/preempted{query}", headers={"Metadata-Flavor": "Google"}
        )
        try:
            with opener.open(request, timeout=_ANSWER_S + 10) as answer:
                seen = answer.headers.get("ETag", "0")
                query = f"?wait_for_change=true&timeout_sec={_ANSWER_S}&last_etag={seen}"
                if answer.read(16).strip() == b"TRUE":
                    _given.add(MACHINE)
        except OSError:
            time.sleep(_RETRY_S)
