# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Which run of a release may change this host: the newest that said so, so that one that lost its lock changes nothing more.

A run has a number, higher than that of every run before it, and writes itself into ``fence.json`` on each host before it changes anything.
Whoever changes something compares first, under the host's own lock. So a run that lost its lock without noticing, such as that of a
laptop that slept, changes nothing more wherever the next one has been, and the next one waits for what is under way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.kasaneha.deploy.plugins.module_utils.io import statefile

WAIT = 180  # seconds to wait for what another run has under way on this host: containers that stop, a migration
LOST = 75  # exit code of the guarded command for a run that lost its lock

GUARD = """\
#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by kasaneha.deploy; changes are overwritten. Docker's command for a release: RELEASE_RUN is the run that calls it, and one that
# lost its lock changes nothing more. The lock is held as long as the command lives: who takes over waits for its end.
set -eu
exec 9>>{directory}/.fence.lock
flock --wait {wait} 9 || {{ echo "{busy}" >&2; exit {lost}; }}
grep -qF "\\"id\\": \\"${{RELEASE_RUN:?}}\\"" {directory}/fence.json || {{ echo "{gone}" >&2; exit {lost}; }}
exec docker "$@"
"""


class HeldError(Exception):
    """Somebody else's run is in the way; the message says whose."""


def number(run_id: str) -> int:
    """Of a run's id, ``<number>-<letters>``; 0 when it has none."""
    head = run_id.partition("-")[0] if "-" in run_id else ""
    return int(head) if head.isdecimal() else 0


class Fence:
    """The fence of one application on this host."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.file = directory, directory / "fence.json"

    def id(self) -> str:
        """The run that may change this host; empty when none was here yet, or it cannot be read."""
        with contextlib.suppress(ValueError):
            return str((statefile.read(self.file) or {}).get("id", ""))
        return ""

    @contextlib.contextmanager
    def locked(self, wait: float = WAIT) -> Iterator[None]:
        """Change this host alone. The kernel forgets the lock with its process.

        :raises HeldError: another run has something under way, and it does not end.
        """
        deadline = time.monotonic() + wait
        with (self.directory / ".fence.lock").open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise HeldError(busy(self.directory)) from None
                    time.sleep(0.1)
            yield

    @contextlib.contextmanager
    def only(self, run_id: str, wait: float = WAIT) -> Iterator[None]:
        """Change this host alone, and as the run that may.

        :raises HeldError: another run may, or has something under way.
        """
        with self.locked(wait):
            if self.id() != run_id:
                raise HeldError(gone())
            yield

    def claim(self, run_id: str) -> bool:
        """Let this run change this host, and none before it; whether it could not yet.

        :raises HeldError: a later one may, or has something under way.
        """
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self.locked():
            return self.write(run_id)

    def write(self, run_id: str) -> bool:
        """The same for who holds the lock of this host already."""
        found = self.id()
        if found == run_id:
            return False
        if number(found) >= number(run_id):
            raise HeldError(gone())
        statefile.write(self.file, {"id": run_id})
        return True


def allowed(app: str, run_id: str) -> contextlib.AbstractContextManager[None]:
    """Change this host alone, and as the run that may; without a run, whenever.

    :raises HeldError: on entry; another run may, or has something under way.
    """
    return Fence(Path("/var/lib") / app).only(run_id) if run_id else contextlib.nullcontext()


def busy(directory: Path) -> str:
    """What to say when the lock of a host is not to be had."""
    return (
        f"Another run of a release has something under way on this host, and it does not end (fuser -v {directory}/.fence.lock shows it). "
        "Nothing was changed here. Run it again when that is done."
    )


def gone() -> str:
    """What to say to a run that lost its lock."""
    return "This run lost its lock: another one took over. It changed nothing more here. Look at playbooks/status.yml before you go on."


def guard(directory: Path, path: Path) -> bool:
    """Install Docker's command for releases, whole or not at all; whether it was another one."""
    text = GUARD.format(directory=directory, wait=WAIT, lost=LOST, busy=busy(directory), gone=gone())
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o777 == 0o755:
            return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return True
