# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever fails says why, and whether that is about the bytes or about this host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan, stream


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A megabyte that does not compress, as a file of a set."""
    path = tmp_path / "database.dump.zst"
    path.write_bytes(subprocess.run(["zstd", "-qc"], input=os.urandom(1 << 20), capture_output=True, check=True).stdout)
    return path


def unpack(path: Path, target: str) -> None:
    """Unpack a file of a set into another."""
    with open(target, "wb") as file:
        stream.check(stream.opened(path, stdout=file), code=plan.VERIFY_FAILED)


def test_a_decoder_that_cannot_read_the_bytes_gives_a_verdict_on_them(packed: Path) -> None:
    unpack(packed, os.devnull)
    os.truncate(packed, packed.stat().st_size - 1)
    with pytest.raises(plan.Damaged, match=r"zstd: .*premature") as caught:
        unpack(packed, os.devnull)
    assert caught.value.code == plan.VERIFY_FAILED


def test_a_full_disk_is_no_verdict(packed: Path) -> None:
    with pytest.raises(plan.BackupError, match="No space left on device") as caught:
        unpack(packed, "/dev/full")
    assert not isinstance(caught.value, plan.Damaged)


def test_a_decoder_that_was_killed_is_no_verdict_though_the_one_before_it_complains(packed: Path) -> None:
    processes = stream.opened(packed)
    killed = stream.start(["sh", "-c", "kill -9 $$"], processes[-1].stdout)
    processes[-1].stdout.close()
    with pytest.raises(plan.BackupError, match="killed by signal 9") as caught:
        stream.check([*processes, killed], code=plan.VERIFY_FAILED)
    assert not isinstance(caught.value, plan.Damaged)


@pytest.mark.parametrize(
    ("code", "said", "blamed"),
    [
        (1, "zstd: x.zst : Decoding error (36) : Data corruption detected", "set"),
        (1, "pg_restore: error: could not read from input file: end of file", "set"),
        (2, "tar: Unexpected EOF in archive", "set"),
        (1, "pg_restore: error: could not execute query: ERROR:  function rate(text) does not exist", "set"),
        (1, "zstd: error 70 : Write error : cannot write block : No space left on device ", "host"),
        (1, 'pg_restore: error: could not execute query: ERROR:  could not extend file "base/1/2": No space left on device', "host"),
        (1, "Error response from daemon: container 1f is not running", "host"),
        (1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "host"),
        (1, "Error: No such container: shop-backup-1f", "host"),
        (1, "pg_restore: error: could not execute query: ERROR:  canceling statement due to statement timeout", "host"),
        (125, "docker: Error response from daemon: No such image: sha256:1", "host"),
        (126, "OCI runtime exec failed", "host"),
        (127, "sh: pg_restore: not found", "host"),
        (137, "", "host"),
        (-9, "", "host"),
        (1, "pg_restore: error: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused", "host"),
        (1, "pg_restore: error: could not execute query: server closed the connection unexpectedly", "host"),
        (1, "age: error: no identity matched any of the recipients", "host"),
        (1, "zstd: error 70 : Write error : cannot write block : Broken pipe ", ""),
        (-13, "", ""),
        (141, "", ""),
    ],
)  # fmt: skip
def test_whom_a_failure_is_about(code: int, said: str, blamed: str) -> None:
    assert plan.blame(code, said) == blamed
