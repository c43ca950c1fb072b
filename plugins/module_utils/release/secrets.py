# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Files of secrets: a directory for each colour, in it one for each service, which its containers mount. What a release
writes is its own colour's alone, so one that fails leaves those of the release that serves as they are."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Entry(NamedTuple):
    """A file, or a directory, as it is or is to be."""

    mode: int
    owner: tuple[int, int] | None  # user and group; None: whoever writes it
    content: bytes | None = None  # None: a directory, or what is neither


def desired(files: Mapping[str, Mapping[str, Any]], owners: Mapping[str, str], private: bool) -> dict[str, Entry]:
    """Path below the directory, ``.`` for itself -> what is to be there.

    :param files: service -> name -> value.
    :param owners: service -> user ID of its containers.
    :param private: only the owner reads them (and root, who writes them); else everybody who reaches the directory does.
    :raises ValueError: a service or a secret has a name that is none.
    """
    entries = {".": Entry(0o700 if private else 0o755, (0, 0) if private else None)} if files else {}
    for service, named in files.items():
        for name in (service, *named):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a file with a secret. Use letters, digits, underscores and dashes.")
        owner = (int(owners[service]), 0) if private else None
        entries[service] = Entry(0o500 if private else 0o755, owner)
        for name, value in named.items():
            entries[f"{service}/{name}"] = Entry(0o400 if private else 0o444, owner, str(value).encode())
    return entries


def observe(directory: Path, private: bool) -> dict[str, Entry]:
    """What is there now, in the same words; links are not followed."""
    found = {}
    for path in [directory, *directory.rglob("*")] if directory.is_dir() else []:
        state = path.lstat()
        plain = stat.S_ISREG(state.st_mode)
        found[str(path.relative_to(directory))] = Entry(
            stat.S_IMODE(state.st_mode) if plain or stat.S_ISDIR(state.st_mode) else -1,
            (state.st_uid, state.st_gid) if private else None,
            path.read_bytes() if plain else None,
        )
    return found


def differences(found: Mapping[str, Entry], desired: Mapping[str, Entry]) -> list[str]:
    """Paths that are not as they are to be; the names alone, never a value."""
    names = {*found, *desired} if desired else set(found) - {"."}
    return sorted(name for name in names if found.get(name) != desired.get(name))


def apply(directory: Path, found: Mapping[str, Entry], desired: Mapping[str, Entry]) -> None:
    """Let the directory hold what is desired, and nothing else. A file is replaced by one rename, never seen half or open."""
    directories = {name: entry for name, entry in desired.items() if entry.content is None}
    for name in directories:
        if name in found and found[name].content is None and found[name].mode >= 0:
            (directory / name).chmod(0o700)
    for name, entry in found.items():
        same = name in desired and (entry.content is None) == (desired[name].content is None) and entry.mode >= 0
        if name != "." and not same:
            _remove(directory / name)
    for name in directories:
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    for name, entry in desired.items():
        if entry.content is not None and found.get(name) != entry:
            _write(directory / name, entry)
    for name, entry in directories.items():
        if entry.owner:
            os.chown(directory / name, *entry.owner)
        (directory / name).chmod(entry.mode)
        statefile.sync_directory(directory / name)


def shared(directory: Path, keep: str, services: Iterable[str]) -> list[Path]:
    """Directories of services that both colours mounted in earlier versions, once the colour that serves has its own."""
    if not keep or not (directory / keep).is_dir():
        return []
    return [directory / name for name in sorted(services) if (directory / name).is_dir()]


def _remove(path: Path) -> None:
    """Remove whatever it is; it may have gone with its directory."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, entry: Entry) -> None:
    """Write a file beside, with its owner and mode, and give it its name when it is on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with open(descriptor, "wb") as file:
            file.write(entry.content or b"")
            if entry.owner:
                os.fchown(descriptor, *entry.owner)
            os.fchmod(descriptor, entry.mode)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
