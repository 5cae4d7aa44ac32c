"""Does Ray answer at its address, and does it accept this process?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from qa_lib.doctor.finding import Finding
from qa_lib.runs import storage
from qa_lib.runs.provenance import versions

CONTACT_S = 3.0
"""Seconds an address has to answer."""

_TOKEN_REMEDY = (
    "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token; "
    "RAY_AUTH_TOKEN, where it is set, goes before the file."
)


def is_http(address: str) -> bool:
    """Say whether an address is a dashboard's, which takes jobs and cannot be joined."""
    return urlsplit(address).scheme in ("http", "https")


def check_address(address: str) -> Iterator[Finding]:
    """Check that Ray answers at an address and accepts this process."""
    if is_http(address):
        yield _check_dashboard(address)
        return
    given, address = address, _found(address)
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        yield _fault(
            "RAY_ADDRESS is auto, and no Ray runs on this machine",
            "Start a cluster here, set it to HOST:PORT, or unset it to run on this machine.",
        )
    elif not host or not port.isdigit():
        yield _fault(
            f"RAY_ADDRESS {address} is not an address", "Set it to HOST:PORT or http://HOST:PORT."
        )
    else:
        try:
            socket.create_connection((host, int(port)), timeout=CONTACT_S).close()
        except OSError as error:
            yield _silent(
                address if given == address else f"{given} ({address})",
                error,
                "Start the cluster (`make cluster-up`), correct RAY_ADDRESS, or unset it to run "
                "here.",
            )
        else:
            yield _check_cluster(address)


def _found(address: str) -> str:
    """Return what `auto` stands for on this machine; `auto` if nothing, and other addresses."""
    if address != "auto":
        return address
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address("auto") or "auto"
    except (ConnectionError, ValueError):
        return "auto"


def _check_dashboard(address: str) -> Finding:
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
            return _accepted(f"{address} answers and accepts this process")
    except AuthenticationError as error:
        return _fault(f"no token: {storage.first_line(error)}", _TOKEN_REMEDY)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return _refused(address)
        return _fault(f"{address} answers {error}", "Is it Ray's dashboard?")
    except (OSError, ValueError) as error:
        return _silent(
            address,
            error,
            "Is the tunnel open (`make cluster-dashboard PROJECT=...`), the cluster up?",
        )


def _check_cluster(address: str) -> Finding:
    """Ask the cluster for its state in the way that joining it does."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    if ray.is_initialized():
        return _accepted(f"connected to {address}")
    try:
        GcsClient(address=address).internal_kv_exists(b"qa-suite", namespace=None)
    except Exception as error:  # Ray's own exceptions differ between its versions
        if "uth" in str(error) or "token" in str(error):
            return _refused(address)
        return _fault(
            f"{address} is not a cluster of this Ray version: {storage.first_line(error)}",
            f"It must run Ray {versions().get('ray')}, as this process does.",
        )
    return _accepted(f"{address} answers and accepts this process")


def _accepted(message: str) -> Finding:
    return Finding("ray", "good", message)


def _fault(message: str, remedy: str) -> Finding:
    return Finding("ray", "fault", message, remedy)


def _silent(address: str, error: Exception, remedy: str) -> Finding:
    return _fault(f"nothing answers at RAY_ADDRESS {address}: {storage.first_line(error)}", remedy)


def _refused(address: str) -> Finding:
    return _fault(f"{address} refuses this process: no token, or a wrong one", _TOKEN_REMEDY)
