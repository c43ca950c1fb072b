# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Exchange what is in a directory entry by entry, while an application goes on writing there. Each step may be done again.

Three places on one file system: the live directory, in it one that holds what is coming, and one that takes what is going. The
directory itself stays: running containers hold it. What is written meanwhile is lost neither way.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.dump import HIDDEN
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import RESTORE_FAILED, BackupError

ATTEMPTS = 100  # at one entry that its writer makes again and again
LATE = ".written-during-the-restore"  # added to the name of what was a directory before, or is one now
TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR)


@contextlib.contextmanager
def as_backup_error() -> Iterator[None]:
    """What the file system refuses fails as everything else does, and takes the same way back.

    :raises BackupError: RESTORE_FAILED, with the path.
    """
    try:
        yield
    except OSError as error:
        raise BackupError(f"{error.filename or 'a file'}: {error.strerror or error}.", RESTORE_FAILED) from error


def entries(directory: Path) -> list[str]:
    """The names in a directory, without those that restores keep there; none if it is not there."""
    return [name for name in os.listdir(directory) if not name.startswith(HIDDEN)] if directory.is_dir() else []


def move_out(live: Path, going: Path) -> None:
    """Move away what is there now; what is written after that stays."""
    going.mkdir(mode=0o700, exist_ok=True)
    for name in entries(live):
        _rename(live / name, going / name)


def move_in(coming: Path, live: Path, going: Path) -> None:
    """Move in what is coming; what was written in its place since :func:`move_out` goes where the rest has gone."""
    for name in entries(coming):
        _place(coming / name, live / name, going / name)


def undo_move_in(live: Path, coming: Path, names: Sequence[str]) -> None:
    """Undo :func:`move_in`: move back those that were to come. What is in both places has not come yet; what has no such name is new."""
    for name in names:
        if not os.path.lexists(coming / name):
            _rename(live / name, coming / name)


def undo_move_out(going: Path, live: Path) -> None:
    """Undo :func:`move_out`: what went is there again, with what was written meanwhile."""
    for name in iter(lambda: next(iter(entries(going)), ""), ""):
        _place(going / name, live / name, going / name)
    with contextlib.suppress(FileNotFoundError):
        going.rmdir()


def _rename(source: Path, target: Path) -> None:
    """Rename; what is gone, its writer has taken back."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        if os.path.lexists(source):
            raise


def _place(source: Path, target: Path, aside: Path) -> None:
    """Rename an entry to where somebody may be writing at the same time; what he has written there is merged into ``aside``."""
    for _attempt in range(ATTEMPTS):
        _merge(target, aside)
        try:
            os.rename(source, target)
            return
        except OSError as error:
            if error.errno not in TAKEN:
                raise
    raise OSError(errno.EBUSY, "it is written again and again", str(target))


def _merge(newer: Path, older: Path) -> None:
    """Move an entry over another one: directories are united, a newer file takes the older one's place, what is of two kinds stays both."""
    with contextlib.suppress(FileNotFoundError):  # there is none, or its writer took it back
        if not os.path.lexists(newer):
            return
        if _is_directory(newer) and _is_directory(older):
            for name in os.listdir(newer):
                _merge(newer / name, older / name)
            with contextlib.suppress(OSError):  # he has written there again: whoever needs the place asks again
                os.rmdir(newer)
        elif os.path.lexists(older) and (_is_directory(newer) or _is_directory(older)):
            os.rename(newer, older.with_name(f"{older.name}{LATE}"))
        else:
            os.replace(newer, older)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
