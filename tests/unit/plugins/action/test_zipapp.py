# SPDX-License-Identifier: GPL-3.0-or-later
"""The task that installs a command: written once, announced in check mode, corrected when it is another file or has other rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ansible_collections.kasaneha.deploy.plugins as ours
import pytest
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp

COLLECTIONS = Path(next(iter(ours.__path__))).parents[3]


def install(dest: Path, *options: str, module: str = "logs.command") -> str:
    """What the task says."""
    command = [
        sys.executable,
        "-m",
        "ansible",
        "adhoc",
        "localhost",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    ]
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(
        [*command, "-m", "kasaneha.deploy.zipapp", "-a", f"module={module} dest={dest}", *options],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    ).stdout  # fmt: skip


def test_it_is_written_once_and_corrected(tmp_path: Path) -> None:
    dest = tmp_path / "shop-logs"
    said = install(dest, "--check", "--diff")
    assert "CHANGED" in said and f"+++ after: {dest}" in said and "+logs.command, checksum" in said and not dest.exists()
    assert "CHANGED" in install(dest) and dest.read_bytes() == zipapp.pack("logs.command")
    assert dest.stat().st_mode & 0o777 == 0o755
    said = install(dest, "--diff")
    assert "SUCCESS" in said and "+++" not in said
    dest.chmod(0o700)
    assert "CHANGED" in install(dest) and dest.stat().st_mode & 0o777 == 0o755
    dest.write_bytes(b"another version")
    said = install(dest, "--diff")
    assert "CHANGED" in said and "-logs.command, checksum" in said and dest.read_bytes() == zipapp.pack("logs.command")


@pytest.mark.parametrize(
    ("name", "module", "words"), [("shop", "no.such", "no.such: there is no "), ("", "logs.command", "is a directory")]
)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str, module: str, words: str) -> None:
    said = install(tmp_path / name, module=module)
    assert "FAILED" in said and words in said and not list(tmp_path.iterdir())
