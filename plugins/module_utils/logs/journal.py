# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The journal: entries go in by its own protocol, and the last one of a source says how far that source was read."""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

SOCKET = "/run/systemd/journal/socket"
# The names that Docker's journald driver makes of the labels of a container: both ways lead to the same fields.
PREFIX = "KASANEHA_DEPLOY_"
POSITION = "LOG_POSITION"
MOST_BYTES = 64 * 1024  # of an entry that goes as a datagram; longer ones go as a file
F_ADD_SEALS, ALL_SEALS = 1033, 0b1111  # of fcntl(2)


def encoded(fields: Mapping[str, str]) -> bytes:
    """An entry in the journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): any byte may stand in a value."""
    parts = []
    for name, value in fields.items():
        raw = value.encode("utf-8", "backslashreplace")
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts)


class Writer:
    """Sends entries; waits while the journal has no room, so that none is lost on this way."""

    def __init__(self, path: str = SOCKET) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(self, fields: Mapping[str, str]) -> None:
        """One entry. One that is too long for a datagram goes as a file."""
        data = encoded(fields)
        while True:
            try:
                if len(data) < MOST_BYTES:
                    self.socket.sendto(data, self.path)
                else:
                    self._send_file(data)
                return
            except (ConnectionRefusedError, FileNotFoundError):
                time.sleep(0.5)  # the journal is being restarted

    def _send_file(self, data: bytes) -> None:
        # A file in memory that nobody can change any more, which is what the journal accepts.
        file = os.memfd_create("entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(file), "wb") as stream:
                stream.write(data)
            fcntl.fcntl(file, F_ADD_SEALS, ALL_SEALS)
            self.socket.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))], 0, self.path)
        finally:
            os.close(file)


def last_position(app: str, matches: Sequence[str]) -> str:
    """How far a source was read: the position in its newest entry; empty if there is none."""
    entry = newest([f"{PREFIX}APP={app}", *matches]) or {}
    return text_of(entry.get(POSITION))


def newest(matches: Sequence[str]) -> dict[str, Any] | None:
    """The newest entry with these fields."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=json", "--all", "--lines=1", "--reverse", *matches]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    lines = done.stdout.splitlines()
    try:
        entry = json.loads(lines[0]) if lines else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def sync() -> None:
    """Wait until the journal has written what it was sent."""
    subprocess.run(["journalctl", "--sync"], capture_output=True, check=False)


def text_of(value: Any) -> str:
    """A field of ``journalctl --output=json``: text, bytes as numbers where it is none, or several of either."""
    if isinstance(value, list):
        if all(isinstance(item, int) for item in value):
            return bytes(value).decode("utf-8", "backslashreplace")
        return text_of(value[-1]) if value else ""
    return value if isinstance(value, str) else ""
