# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of a set under way: the disk must give back what was written, while it is written and at its end."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import file as files


def chunks(sizes: list[int]) -> list[bytes]:
    """Bytes that do not repeat, in pieces of these sizes."""
    return [os.urandom(size) for size in sizes]


@pytest.mark.parametrize("sizes", [[], [1], [4096], [4097, 10, 4095], [10_000] * 50], ids=str)
def test_what_the_disk_gives_back_is_what_was_written(tmp_path: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PROVE_EVERY", 8192)
    file, written = files.File(tmp_path / "file"), chunks(sizes)
    for chunk in written:
        file.write(chunk)
    file.close()
    assert file.proven() and file.bytes == sum(sizes)
    assert (tmp_path / "file").read_bytes() == b"".join(written)
    assert file.sha256 == hashlib.sha256(b"".join(written)).hexdigest() == files.digest(tmp_path / "file")
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("where", [0, 50_000, 99_999])
def test_a_disk_that_gives_back_something_else_is_noticed(tmp_path: Path, where: int) -> None:
    file = files.File(tmp_path / "file")
    file.write(os.urandom(100_000))
    with (tmp_path / "file").open("r+b") as other:
        other.seek(where)
        byte = other.read(1)[0]
        other.seek(where)
        other.write(bytes([byte ^ 1]))
    file.close()
    assert not file.proven()


def test_a_file_that_got_shorter_is_noticed(tmp_path: Path) -> None:
    file = files.File(tmp_path / "file")
    file.write(os.urandom(100_000))
    os.truncate(tmp_path / "file", 99_999)
    file.close()
    assert not file.proven()


def test_an_abandoned_file_is_left_at_once(tmp_path: Path) -> None:
    file = files.File(tmp_path / "file")
    file.write(b"something")
    (tmp_path / "file").unlink()
    file.abandon()
    file.abandon()  # whoever puts things away need not know whether somebody has
