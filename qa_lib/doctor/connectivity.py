"""Is Ray reachable at its address, and are we let in?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from qa_lib.doctor.finding import Finding
from qa_lib.runs import storage
from qa_lib.runs.run_folder import versions

CONTACT_S = 3.0
"""How long an address is given to answer, in seconds."""

_TOKEN_REMEDY = (
    "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token."
)


def contact(address: str) -> Iterator[Finding]:
    """Say whether Ray answers at an address, and lets this process in."""
    if is_http(address):
        yield _contact_dashboard(address)
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        yield Finding("ray", "good", "the cluster that this process is part of")
        return
    if not host or not port.isdigit():
        yield Finding(
            "ray",
            "fault",
            f"RAY_ADDRESS {address} is no address",
            "Set it to HOST:PORT or http://.",
        )
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONTACT_S).close()
    except OSError as error:
        yield Finding(
            "ray",
            "fault",
            f"nothing answers at RAY_ADDRESS {address}: {storage.first_line(error)}",
            "Start the cluster (`make cluster-up`), correct RAY_ADDRESS, or unset it to run here.",
        )
        return
    yield _authorised(address)


def _contact_dashboard(address: str) -> Finding:
    import urllib.error
    import urllib.request

    from ray._private.authentication.http_token_authentication import (
        get_auth_headers_if_auth_enabled,
    )
    from ray.exceptions import AuthenticationError

    try:
        headers = get_auth_headers_if_auth_enabled({})
        request = urllib.request.Request(f"{address.rstrip('/')}/api/version", headers=headers)
        with urllib.request.urlopen(request, timeout=CONTACT_S):
            return Finding("ray", "good", f"{address} answers and lets us in")
    except AuthenticationError as error:
        return Finding("ray", "fault", f"no token: {storage.first_line(error)}", _TOKEN_REMEDY)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return _refused(address)
        return Finding("ray", "fault", f"{address} answers {error}", "Is it Ray's dashboard?")
    except (OSError, ValueError) as error:
        return Finding(
            "ray",
            "fault",
            f"nothing answers at RAY_ADDRESS {address}: {storage.first_line(error)}",
            "Is the tunnel open (`ray dashboard cluster/gcp-t4.yaml`), the cluster up?",
        )


def _authorised(address: str) -> Finding:
    """Ask the cluster for its state in the way that joining it does."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    if ray.is_initialized():
        return Finding("ray", "good", f"connected to {address}")
    try:
        GcsClient(address=address).internal_kv_exists(b"qa-suite", namespace=None)
    except Exception as error:  # Ray's own kinds differ between its versions
        if "uth" in str(error) or "token" in str(error):
            return _refused(address)
        return Finding(
            "ray",
            "fault",
            f"{address} is no cluster of this Ray: {storage.first_line(error)}",
            f"It must run Ray {versions().get('ray')}, as this process does.",
        )
    return Finding("ray", "good", f"{address} answers and lets us in")


def _refused(address: str) -> Finding:
    return Finding(
        "ray",
        "fault",
        f"{address} refuses this process: no token, or a wrong one",
        _TOKEN_REMEDY,
    )


def is_http(address: str) -> bool:
    """Say whether an address is a dashboard's, which takes jobs, and not one to join."""
    return urlsplit(address).scheme in ("http", "https")
