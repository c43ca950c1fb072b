# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""A release named after its source: the same files have the same name, wherever they stand."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

# What no checkout means to build from, where git cannot say it.
LEFT_OUT = frozenset([".git", "node_modules", "dist", ".astro"])


def files(directory: Path) -> list[str]:
    """Names of the files that belong to a source: those that git does not ignore; without git, all but the usual leftovers."""
    command = ["git", "-C", str(directory), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "."]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
        names = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = []
        for root, directories, found in os.walk(directory):
            directories[:] = [name for name in directories if name not in LEFT_OUT]
            names += [os.path.relpath(os.path.join(root, name), directory) for name in found]
    return sorted(name for name in names if os.path.lexists(directory / name))


def release(directories: Iterable[str], prefix: str = "src-", salt: str = "") -> str:
    """Name a release after what stands in its sources: names, content, and who may execute it.

    :param salt: what else makes an image another one, such as the arguments of its build.
    :raises ValueError: a directory is not there.
    """
    digest = hashlib.sha256(salt.encode())
    for directory in map(Path, directories):
        if not directory.is_dir():
            raise ValueError(f"there is no directory {directory}. Check the source out there, or name where it is.")
        for name in files(directory):
            path = directory / name
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            executable = bool(path.lstat().st_mode & 0o100)
            digest.update(f"\0{len(os.fsencode(name))} {executable} {len(content)}\0".encode() + os.fsencode(name) + content)
        digest.update(b"\0next\0")
    return prefix + digest.hexdigest()[:12]
