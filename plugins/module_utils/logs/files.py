# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Files that programs of the host write, such as nginx: followed through their rotation, from where they were read last."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import journal
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs.docker import stamp_of

# How nginx begins a line of its access log (ours, JSON) and of its error log.
JSON_TIME = re.compile(rb'^\{"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[+-]\d\d:\d\d|Z))"')
ERROR_TIME = re.compile(rb"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) ")
PAUSE = 0.5  # seconds between two looks
CHUNK = 1 << 20


class FileSource:
    """One file: ``{path, service, stream}``. A position is ``inode:offset``."""

    def __init__(self, collector: Any, entry: Mapping[str, str]) -> None:
        self.collector = collector
        self.path = Path(entry["path"])
        self.fields = {
            "SYSLOG_IDENTIFIER": entry["service"],
            f"{journal.PREFIX}APP": collector.app,
            f"{journal.PREFIX}SERVICE": entry["service"],
            "LOG_FILE": entry["path"],
            "LOG_STREAM": entry["stream"],
        }
        self.rest = b""

    def run(self) -> None:
        """Follow it, for ever."""
        sink = self.collector.sink(self.fields, self.collector.budget())
        file, offset = self._resume(journal.last_position(self.collector.app, [f"LOG_FILE={self.path}"]))
        while True:
            offset = self._read(file, offset, sink)
            fresh = self._open(self.path)
            if fresh and (not file or os.fstat(fresh.fileno()).st_ino != os.fstat(file.fileno()).st_ino):
                time.sleep(PAUSE)  # nginx writes to the old one until it is told
                self._read(file, offset, sink)
                if file:
                    file.close()
                file, offset, self.rest = fresh, 0, b""
                continue
            if fresh:
                if os.fstat(fresh.fileno()).st_size < offset:  # emptied in place
                    file, offset, self.rest = fresh, 0, b""
                    continue
                fresh.close()
            time.sleep(PAUSE)

    def _resume(self, position: str) -> tuple[BinaryIO | None, int]:
        """The file that was read last, if it is still there under this name or the one that it rotated to; else this one,
        from its beginning. Without any position, from its end: what is older was no entry of this journal."""
        inode, _colon, offset = position.partition(":")
        if inode.isdigit() and offset.isdigit():
            for path in (self.path, self.path.with_name(f"{self.path.name}.1")):
                file = self._open(path)
                if file and os.fstat(file.fileno()).st_ino == int(inode) and os.fstat(file.fileno()).st_size >= int(offset):
                    return file, int(offset)
            return self._open(self.path), 0
        file = self._open(self.path)
        return file, file.seek(0, os.SEEK_END) if file else 0

    def _read(self, file: BinaryIO | None, offset: int, sink: Any) -> int:
        """Everything that is there; where it ends. The rest of a line that is not complete comes with the next look."""
        if not file:
            return 0
        inode = os.fstat(file.fileno()).st_ino
        file.seek(offset)
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return offset
            offset += len(chunk)
            at = offset - len(chunk) - len(self.rest)
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            for line in lines:
                at += len(line) + 1
                moment = own_time(line)
                sink.put(line, stamp_of(moment), moment, f"{inode}:{at}")

    @staticmethod
    def _open(path: Path) -> BinaryIO | None:
        with contextlib.suppress(OSError):
            return path.open("rb")
        return None


def own_time(line: bytes) -> float:
    """The time that a line names, in seconds; now, if it names none."""
    with contextlib.suppress(ValueError):
        found = JSON_TIME.match(line)
        if found:
            return datetime.fromisoformat(found[1].decode().replace("Z", "+00:00")).timestamp()
        found = ERROR_TIME.match(line)
        if found:
            return time.mktime(time.strptime(found[1].decode(), "%Y/%m/%d %H:%M:%S"))
    return time.time()
