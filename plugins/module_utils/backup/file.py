# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""A file of a set under way, and what the disk gives back of one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
PROVE_EVERY = 32 << 20  # bytes of a file that are brought to the disk and read back together
PAGE = 4096


class File:
    """A file of a set under way: written, hashed, and brought to the disk and read back from there while more is written."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes, self._hash = path, 0, hashlib.sha256()
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
        self._again = path.open("rb", buffering=0)
        self._proof, self._failure = hashlib.sha256(), ""
        self._more, self._ended = threading.Event(), False
        self._reader = threading.Thread(target=self._read_back)
        self._reader.start()

    def write(self, chunk: bytes) -> None:
        """Add bytes."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(chunk)
        before, self.bytes = self.bytes, self.bytes + len(chunk)
        if before // PROVE_EVERY != self.bytes // PROVE_EVERY:
            self._more.set()

    def close(self) -> None:
        """Bring it to the disk, whose last bytes are read back, too.

        :raises OSError: it could not be brought there.
        """
        if self._file.closed:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        self._end()

    def abandon(self) -> None:
        """Close it, if it is still open; what could not be written does not matter any more."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._more.set()
        self._reader.join()

    def _read_back(self) -> None:
        """Hash what the disk gives back, behind whoever writes."""
        try:
            with self._again as file:
                ended, proven = False, 0
                while not ended:
                    self._more.wait()
                    self._more.clear()
                    ended = self._ended
                    here = self.bytes if ended else self.bytes // PAGE * PAGE  # the last page is still being written
                    os.fdatasync(file.fileno())
                    hash_disk(file, self._proof, proven, here)
                    proven = here
        except OSError as error:
            self._failure = error.strerror or str(error)

    def proven(self) -> bool:
        """Whether the disk gave back what was written; only after :meth:`close`."""
        return not self._failure and self._proof.digest() == self._hash.digest()

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._hash.hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of what is on the disk, not in the cache."""
    result = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        hash_disk(file, result, 0, path.stat().st_size)
    return result.hexdigest()


def hash_disk(file: Any, result: Any, start: int, end: int) -> None:
    """Add the bytes of a file that is read from ``start``, up to ``end``, as the disk gives them, not the cache."""
    with contextlib.suppress(OSError):  # a file system without the call is read all the same
        os.posix_fadvise(file.fileno(), start, end - start, os.POSIX_FADV_DONTNEED)
    while start < end:
        chunk = file.read(min(CHUNK, end - start))
        if not chunk:
            return  # shorter than it should be: another hash
        result.update(chunk)
        start += len(chunk)
