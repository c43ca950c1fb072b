# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What an edge's requests say of a release: the watch and the drain. Pure functions, and the reading of their two sources:
the log of requests that the role nginx writes, and the kernel's table of connections."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO


def count_requests(entries: Iterable[Mapping[str, Any]], colour: str, upstreams: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Count what an edge's log says of a colour.

    Only requests for which a container of the application was asked count: the edge shows the colour beside its own
    pages, too (dashboards, logs, files, a location that returns a status), and these say nothing of a release.

    :param entries: lines of the log: ``colour``, ``status``, ``upstream`` ("address, address : address").
    :param upstreams: colour -> ``address:port`` of its containers.
    :returns: ``requests`` that were meant for the colour, ``errors`` among them (5xx), and ``elsewhere``: those that
        another colour had to answer.
    """
    colours = {address: name for name, addresses in upstreams.items() for address in addresses}
    counted = {"requests": 0, "errors": 0, "elsewhere": 0}
    for entry in entries:
        if entry.get("colour") != colour:
            continue
        asked = re.split(" : |, ", str(entry.get("upstream", "")))
        # Without a server that is taken for alive nginx writes the name of the upstream, which ends with the colour.
        own = [colours.get(name) or colour for name in asked if name in colours or name.endswith(f"_{colour}")]
        if own:
            error = int(entry.get("status", 0)) >= 500
            counted["requests"] += 1
            counted["errors"] += error
            counted["elsewhere"] += not error and own[-1] != colour
    return counted


def watch_problem(
    before: Mapping[str, int], after: Mapping[str, int], failed_probes: int, max_error_ratio: float, least: int = 20
) -> str:
    """What speaks against a release that serves; empty: nothing yet.

    Requests that the other colour had to answer are errors of this one. The share of errors may be what is allowed, or
    twice what the release before had (if it had `least` requests to tell by). One bad answer is bad luck, two are not.
    """
    if failed_probes >= 2:
        return f"{failed_probes} probes in a row failed"
    bad = after["errors"] + after["elsewhere"]
    allowed = max(max_error_ratio, 2 * before["errors"] / before["requests"] if before["requests"] >= least else 0.0)
    if bad >= 2 and bad > allowed * after["requests"]:
        return (
            f"{bad} of {after['requests']} requests failed or had to be answered by the other colour "
            f"(allowed is a share of {allowed:.3f})"
        )
    return ""


def entries(text: bytes) -> Iterator[dict[str, Any]]:
    """The log's lines; one that is cut short or is no JSON is passed over."""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _read(file: BinaryIO | None) -> bytes:
    """What a file holds beyond what was read of it."""
    if not file:
        return b""
    if os.fstat(file.fileno()).st_size < file.tell():  # emptied in place
        file.seek(0)
    return file.read()


class Log:
    """Follows the log from where it ends now, through its rotation: the file that was renamed is read to its end first."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.file = self._open()
        self.start = self.file.seek(0, os.SEEK_END) if self.file else 0
        self.rest = b""
        self.renamed: BinaryIO | None = None

    def before(self, size: int = 1_000_000) -> Iterator[dict[str, Any]]:
        """The last lines before the beginning: what was usual."""
        if self.file:
            at = self.file.tell()
            self.file.seek(max(0, self.start - size))
            yield from entries(self.file.read(min(size, self.start)))
            self.file.seek(at)

    def new(self) -> Iterator[dict[str, Any]]:
        """What came since the last call; the rest of a line that is not complete comes with the next one."""
        text = self.rest + _read(self.renamed) + _read(self.file)
        fresh, self.renamed = self._open(), None
        if fresh and (not self.file or os.fstat(fresh.fileno()).st_ino != os.fstat(self.file.fileno()).st_ino):
            # nginx writes to the old one until it is told: it is looked at once more.
            self.renamed, self.file = self.file, fresh
            text += _read(self.file)
        complete, newline, self.rest = text.rpartition(b"\n")
        yield from entries(complete + newline)

    def _open(self) -> BinaryIO | None:
        with contextlib.suppress(FileNotFoundError):
            return self.path.open("rb")
        return None


# States of a TCP connection in which it still carries, or is about to carry, a request (include/net/tcp_states.h):
# ESTABLISHED, SYN_SENT. In the others our side has ended it.
OPEN = ("01", "02")


def connections(table: str, addresses: Iterable[str], owned: Container[str] | None) -> int:
    """Count open connections from this host to addresses.

    :param table: what ``/proc/net/tcp`` and ``/proc/net/tcp6`` hold.
    :param addresses: ``address:port``, IPv6 in brackets.
    :param owned: inodes of the sockets that count; None: all.
    """
    wanted = {_hexadecimal(address) for address in addresses}
    rows = [row for row in map(str.split, table.splitlines()) if len(row) > 9 and row[3] in OPEN and row[2] in wanted]
    return sum(owned is None or row[9] in owned for row in rows)


def sockets(proc: Path, program: str) -> set[str]:
    """Inodes of the sockets that the processes of a program have open.

    :raises OSError: it may not be seen, which needs the rights of root.
    """
    found = set()
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if (process / "comm").read_text().strip() != program:
                continue
            for link in (process / "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    found |= set(re.findall(r"^socket:\[(\d+)\]$", os.readlink(link)))
    return found


def _hexadecimal(address: str) -> str:
    """An address as the kernel writes it: each 32 bits in the machine's own byte order."""
    host, _colon, port = address.rpartition(":")
    ip = ipaddress.ip_address(host.strip("[]"))
    packed = socket.inet_pton(socket.AF_INET if ip.version == 4 else socket.AF_INET6, str(ip))
    words = [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{int(port):04X}"


def open_connections(addresses: Iterable[str], program: str = "nginx", proc: Path = Path("/proc")) -> int:
    """Count open connections of a program on this host to addresses now; everybody's where it cannot be seen whose they are.

    Others' do not count: a Prometheus keeps one to each colour for as long as it runs.
    """
    tables = [proc / "net" / name for name in ("tcp", "tcp6")]
    # The table first: whose socket was closed when its owner is looked for, has ended its connection.
    table = "\n".join(path.read_text() for path in tables if path.exists())
    try:
        return connections(table, addresses, sockets(proc, program))
    except OSError:
        return connections(table, addresses, None)
