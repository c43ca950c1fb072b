# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What containers print, line by line, as Docker's socket gives it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from calendar import timegm
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from ansible_collections.kasaneha.deploy.plugins.module_utils.io.docker import Socket

STREAMS = {1: "stdout", 2: "stderr"}
LABEL = "kasaneha.deploy."
MOST_PARTS = 256  # of a line, 16 KiB each: 4 MiB


class Docker(Socket):
    """Asks for the containers of an application, and for what they print."""

    def containers(self, app: str) -> list[dict[str, Any]]:
        """Those of the application, running or not."""
        wanted = urlencode({"all": "1", "filters": json.dumps({"label": [f"{LABEL}app={app}"]})})
        found: list[dict[str, Any]] = self.get(f"/containers/json?{wanted}")
        return found

    def inspect(self, name: str) -> dict[str, Any]:
        """Everything about one."""
        found: dict[str, Any] = self.get(f"/containers/{name}/json")
        return found

    def starts(self, app: str) -> Iterator[str]:
        """The ID of each container of the application that starts, from now on."""
        wanted = {"type": ["container"], "event": ["start"], "label": [f"{LABEL}app={app}"]}
        connection, answer = self.ask(f"/events?{urlencode({'filters': json.dumps(wanted)})}", None)
        with connection:
            for line in answer:
                yield str(json.loads(line)["id"])

    def logs(self, name: str, since: str = "", follow: bool = True, tail: str = "all") -> Lines:
        """The lines of a container, from a time on (that line included) or the newest only."""
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0", "tail": tail}
        return Lines(*self.ask(f"/containers/{name}/logs?{urlencode({**query, **({'since': since} if since else {})})}", None))


class Lines:
    """``(stream, time, line)`` for each line; parts of a long line are put together."""

    def __init__(self, connection: socket.socket, answer: Any) -> None:
        self.connection = connection
        self.answer = answer

    def close(self) -> None:
        """Stop, also from another thread."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def __iter__(self) -> Iterator[tuple[str, str, bytes]]:
        begun: dict[str, tuple[str, list[bytes]]] = {}
        while True:
            head = self.answer.read(8)
            if len(head) < 8:
                break
            kind, size = struct.unpack(">BxxxL", head)
            frame = self.answer.read(size)
            stream = STREAMS.get(kind, "stdout")
            at, _space, part = frame.partition(b" ")
            stamp = at.decode("ascii", "replace")
            # The parts of a line share its time; older versions do not say which one is the last.
            if stream in begun and begun[stream][0] != stamp:
                earlier, parts = begun.pop(stream)
                yield stream, earlier, b"".join(parts)
            _stamp, parts = begun.setdefault(stream, (stamp, []))
            if len(parts) < MOST_PARTS:
                parts.append(part)
            if part.endswith(b"\n"):
                del begun[stream]
                yield stream, stamp, b"".join(parts).rstrip(b"\r\n")
        for stream, (stamp, parts) in begun.items():  # a container that ended in the middle of a line
            yield stream, stamp, b"".join(parts)


def seconds(text: str) -> float:
    """A time of Docker's as seconds since 1970."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z$", text)
    if not found:
        return time.time()
    return timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")) + float(found[2] or 0)


def stamp_of(at: float) -> str:
    """Seconds since 1970 as Docker writes a time: such times can be compared as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z"


def since(text: str) -> str:
    """The same in the form in which Docker takes it, to the nanosecond."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z$", text)
    if not found:
        return ""
    return f"{timegm(time.strptime(found[1], '%Y-%m-%dT%H:%M:%S'))}.{(found[2] or '0').ljust(9, '0')}"


def beginning(positions: list[str]) -> str:
    """From when on to read, if so far was read of each stream; empty: everything. A stream of which the journal knows nothing
    has written nothing yet, but perhaps a moment ago."""
    known = [position for position in positions if position]
    if len(known) == len(positions):
        return since(min(known))
    return since(stamp_of(seconds(max(known)) - 60)) if known else ""


def described(inspected: dict[str, Any]) -> dict[str, str]:
    """The fields by which a container's lines can be found."""
    config = inspected["Config"]
    labels = config.get("Labels") or {}
    name = inspected["Name"].lstrip("/")
    fields = {
        "CONTAINER_ID": inspected["Id"][:12],
        "CONTAINER_ID_FULL": inspected["Id"],
        "CONTAINER_NAME": name,
        "IMAGE_NAME": config.get("Image", ""),
        "SYSLOG_IDENTIFIER": name,
    }
    for key in ("app", "service", "colour", "release"):
        if labels.get(LABEL + key):
            fields[f"KASANEHA_DEPLOY_{key.upper()}"] = labels[LABEL + key]
    return fields
