# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Commands for servers, each one executable file: a zip archive of the very modules that run here, the same bytes every time."""

from __future__ import annotations

import inspect
import io
import zipfile
from collections.abc import Sequence
from types import ModuleType

PACKAGE = "ansible_collections.kasaneha.deploy.plugins.module_utils"


def pack(modules: Sequence[ModuleType], entry: str) -> bytes:
    """The bytes of the file.

    :param modules: all that the command needs.
    :param entry: the one among them whose ``main()`` it is.
    """
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/python3\n")
    with zipfile.ZipFile(packed, "a") as file:
        folders = PACKAGE.split(".")
        for depth in range(1, len(folders) + 1):
            _add(file, "/".join([*folders[:depth], "__init__.py"]), "")
        for module in modules:
            _add(file, "/".join([*folders, f"{module.__name__.rpartition('.')[2]}.py"]), _source(module))
        _add(file, "__main__.py", f"import sys\nfrom {PACKAGE} import {entry}\nsys.exit({entry}.main())\n")
    return packed.getvalue()


def _source(module: ModuleType) -> str:
    """The text of a module, wherever it was loaded from: a folder, the archive in which Ansible sent it, or over Mitogen's connection."""
    return inspect.getsource(module)


def _add(file: zipfile.ZipFile, name: str, text: str | bytes) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: the same source is the same file
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    file.writestr(entry, text)
