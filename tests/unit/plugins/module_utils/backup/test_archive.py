# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as one file: the same bytes every time, everything in it that it needs, and it runs without Ansible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import archive as backup_archive


def test_the_same_source_is_the_same_file() -> None:
    assert backup_archive.archive() == backup_archive.archive()


def test_it_runs_alone_and_names_its_application(tmp_path: Path) -> None:
    command = tmp_path / "shop-backup"
    command.write_bytes(backup_archive.archive())
    # -S: nothing that is installed beside Python itself.
    done = subprocess.run(
        [sys.executable, "-S", str(command), "--help"], capture_output=True, text=True, check=False, cwd="/", env={}
    )
    assert done.returncode == 0 and "restore" in done.stdout, done.stderr
    done = subprocess.run(
        [sys.executable, "-S", str(command), "list"], capture_output=True, text=True, check=False, cwd="/", env={}
    )
    assert done.returncode == 2 and "/etc/shop/backup.json is not there" in done.stderr


def test_every_file_of_the_engine_is_in_it() -> None:
    folder = Path(str(backup_archive.__file__)).parent
    ours = {path.stem for path in folder.glob("*.py")} - {"__init__", "archive", "module"}
    assert ours <= {module.__name__.rpartition(".")[2] for module in backup_archive.MODULES}
