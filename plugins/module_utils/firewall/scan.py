# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Look from outside which TCP ports of an address answer: a plain connection to each, many at a time. No rights are needed."""

from __future__ import annotations

import errno
import re
import selectors
import socket
import time
from collections.abc import Iterable

AT_ONCE = 400  # below the usual limit of open files
# What is often left open by accident, and what the application and its neighbours listen on.
USUAL = (
    "21:23,25,53,80,110,111,143,443,445,873,2049,2375:2377,3000,3306,4321,4789,5000,5432,5601,6060,6379,8000,8080:8082,8099,8443,8888"
    ",9000,9090:9093,9100,9104,9113,9115,9121,9187,9200,9300,10000,11211,18080:18081,18180:18181,24224,27017"
)


def ports(text: str) -> list[int]:
    """``22,80,8000:8010`` as numbers.

    :raises ValueError: it is none of that.
    """
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([0-9]{1,5})(?:[:-]([0-9]{1,5}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 0 < first <= last < 65536:
            raise ValueError(f"{part!r} is neither a port nor a range of ports")
        found |= set(range(first, last + 1))
    return sorted(found)


def scan(address: str, wanted: Iterable[int], timeout: float = 1.5) -> dict[str, str]:
    """Knock at ports of one address.

    :param timeout: seconds to wait for each answer; a port that stays silent is asked once more, for a packet may be lost.
    :returns: port -> ``open``, ``refused`` (it says no) or ``silent`` (it does not answer); ports as strings, as JSON wants them.
    :raises OSError: there is no way to the address at all.
    """
    found = _once(address, list(wanted), timeout)
    if any(state == "open" for state in found.values()):  # else it is not a lost packet
        found.update(_once(address, [port for port, state in found.items() if state == "silent"][:AT_ONCE], timeout))
    return {str(port): state for port, state in sorted(found.items())}


def _once(address: str, left: list[int], timeout: float) -> dict[int, str]:
    found: dict[int, str] = {}
    waiting: dict[socket.socket, tuple[int, float]] = {}
    selector = selectors.DefaultSelector()
    left = list(reversed(left))

    def done(sock: socket.socket, state: str) -> None:
        found[waiting.pop(sock)[0]] = state
        selector.unregister(sock)
        sock.close()

    while left or waiting:
        while left and len(waiting) < AT_ONCE:
            port = left.pop()
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            code = sock.connect_ex((address, port))
            if code in (0, errno.EINPROGRESS):
                waiting[sock] = (port, time.monotonic() + timeout)
                selector.register(sock, selectors.EVENT_WRITE)
            elif code == errno.ECONNREFUSED:
                found[port] = "refused"
                sock.close()
            else:
                sock.close()
                raise OSError(code, f"{address}: {errno.errorcode.get(code, code)}")
        for key, _mask in selector.select(0.05):
            sock = key.fileobj  # type: ignore[assignment]
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            done(sock, "open" if code == 0 else "refused" if code == errno.ECONNREFUSED else "silent")
        now = time.monotonic()
        for sock in [sock for sock, (_port, until) in waiting.items() if until < now]:
            done(sock, "silent")
    return found
