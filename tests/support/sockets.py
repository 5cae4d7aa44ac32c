"""Which sockets the processes of a test listen on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

import psutil

_EVERY_S = 0.2


@contextmanager
def exposed(process: psutil.Process) -> Iterator[set[str]]:
    """Collect, while the block runs, "NAME on ADDRESS" of listeners beyond this machine.

    Args:
        process: It and all that it has started are looked at.

    Yields:
        A set that fills up.
    """
    found: set[str] = set()
    num_seen = 0
    over = threading.Event()

    def look() -> None:
        nonlocal num_seen
        while not over.wait(_EVERY_S):
            for each in [process, *process.children(recursive=True)]:
                try:
                    connections, name = each.net_connections("inet"), each.name()
                except psutil.Error:
                    continue
                for one in connections:
                    if one.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and one.laddr:
                        num_seen += 1
                        if not _is_loopback(one.laddr.ip):
                            found.add(f"{name} on {one.laddr.ip}")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
    assert num_seen, "no process listened at all"


def _is_loopback(address: str) -> bool:
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_loopback
