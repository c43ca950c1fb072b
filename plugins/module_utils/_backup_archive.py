# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The engine as one executable file: a zip archive of the very modules that run here, the same bytes every time."""

from __future__ import annotations

import inspect
import io
import zipfile
from types import ModuleType

# Imported by name: whoever packs a module for a server finds them by these lines.
from ansible_collections.kasaneha.deploy.plugins.module_utils import (
    _backup,
    _backup_cli,
    _backup_drill,
    _backup_dump,
    _backup_import,
    _backup_manifest,
    _backup_metrics,
    _backup_plan,
    _backup_postgres,
    _backup_remote,
    _backup_restore,
    _backup_restorer,
    _backup_sets,
    _backup_sql,
    _backup_stream,
    _probe,
    _statefile,
)

PACKAGE = "ansible_collections.kasaneha.deploy.plugins.module_utils"
MODULES = (
    _backup,
    _backup_cli,
    _backup_drill,
    _backup_dump,
    _backup_import,
    _backup_manifest,
    _backup_metrics,
    _backup_plan,
    _backup_postgres,
    _backup_remote,
    _backup_restore,
    _backup_restorer,
    _backup_sets,
    _backup_sql,
    _backup_stream,
    _probe,
    _statefile,
)
MAIN = f"import sys\nfrom {PACKAGE} import _backup_cli\nsys.exit(_backup_cli.main())\n"


def archive() -> bytes:
    """The bytes of the file."""
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/python3\n")
    with zipfile.ZipFile(packed, "a") as file:
        folders = PACKAGE.split(".")
        for depth in range(1, len(folders) + 1):
            _add(file, "/".join([*folders[:depth], "__init__.py"]), "")
        for module in MODULES:
            _add(file, "/".join([*folders, f"{module.__name__.rpartition('.')[2]}.py"]), _source(module))
        _add(file, "__main__.py", MAIN)
    return packed.getvalue()


def _source(module: ModuleType) -> str:
    """The text of a module, wherever it was loaded from: a folder, the archive in which Ansible sent it, or over Mitogen's connection."""
    return inspect.getsource(module)


def _add(file: zipfile.ZipFile, name: str, text: str | bytes) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: the same source is the same file
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    file.writestr(entry, text)
