# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Files that must survive a crash whole: written beside, fsynced, renamed; JSON with a schema version, or a link."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = 1


def read(path: Path) -> dict[str, Any] | None:
    """Read a state file; None when there is none.

    :raises ValueError: it is no JSON object of this schema; the message names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise ValueError(f"{path} is not of schema {SCHEMA}.")
    return value


def write(path: Path, value: dict[str, Any], mode: int = 0o644) -> None:
    """Replace a state file by one rename, after its bytes are on the disk."""
    with _beside(path, value, mode) as temporary:
        os.replace(temporary, path)
        sync_directory(path.parent)


def create(path: Path, value: dict[str, Any]) -> None:
    """Create a state file whole, or not at all.

    :raises FileExistsError: somebody was faster.
    """
    with _beside(path, value) as temporary:
        os.link(temporary, path)
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a state file, if it is there."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def append(path: Path, value: dict[str, Any]) -> None:
    """Add one line of JSON to a log; a line cut short by a crash gets a line of its own."""
    with path.open("ab+") as log:
        if log.seek(0, os.SEEK_END):
            log.seek(-1, os.SEEK_END)
            if log.read(1) != b"\n":
                log.write(b"\n")
        log.write(json.dumps(value, sort_keys=True).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())


def point(link: Path, target: str) -> None:
    """Let a symbolic link name another target, by one rename."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
    sync_directory(link.parent)


@contextlib.contextmanager
def _beside(path: Path, value: dict[str, Any], mode: int = 0o644) -> Iterator[Path]:
    """Write the value to a file beside the path, on the disk when the body runs, gone after it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"schema": SCHEMA, **value}, file, indent=1, sort_keys=True)
            file.write("\n")
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Bring a rename in a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
