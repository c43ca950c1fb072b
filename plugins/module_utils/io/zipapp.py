# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Commands for servers, each one executable file: a zip archive of the very modules that run here, the same bytes every time."""

from __future__ import annotations

import inspect
import io
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "ansible_collections.kasaneha.deploy.plugins.module_utils"


def pack(modules: Sequence[ModuleType], entry: str) -> bytes:
    """The bytes of the file.

    :param modules: all that the command needs.
    :param entry: the one among them whose ``main()`` it is, such as ``backup.cli``.
    """
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/python3\n")
    names = [module.__name__ for module in modules]
    packages = {name.rpartition(".")[0] for name in names} | {PACKAGE}
    folders = {package.rsplit(".", depth)[0] for package in packages for depth in range(package.count(".") + 1)}
    with zipfile.ZipFile(packed, "a") as file:
        for folder in sorted(folders):
            _add(file, f"{folder.replace('.', '/')}/__init__.py", "")
        for name, module in zip(names, modules):
            _add(file, f"{name.replace('.', '/')}.py", _source(module))
        _add(file, "__main__.py", f"import sys\nfrom {PACKAGE}.{entry} import main\nsys.exit(main())\n")
    return packed.getvalue()


def install(module: Any, wanted: bytes) -> None:
    """Write a command where the module's ``path`` says, if another one is there, and end the module.

    :param module: an AnsibleModule with check mode.
    """
    path = Path(module.params["path"])
    before = path.read_bytes() if path.is_file() else b""
    changed = before != wanted or path.stat().st_mode & 0o777 != 0o755
    if changed and not module.check_mode:
        descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(descriptor, "wb") as file:
            file.write(wanted)
        module.atomic_move(temporary, str(path))
        path.chmod(0o755)  # noqa: S103 - a command is for everybody to see; the configuration that it reads is not
    shown = {
        "before": "there\n" if before else "",
        "after": "there, of this version\n",
        "before_header": str(path),
        "after_header": str(path),
    }
    module.exit_json(changed=changed, path=str(path), **({"diff": shown} if module._diff and changed else {}))


def _source(module: ModuleType) -> str:
    """The text of a module, wherever it was loaded from: a folder, the archive in which Ansible sent it, or over Mitogen's connection."""
    return inspect.getsource(module)


def _add(file: zipfile.ZipFile, name: str, text: str | bytes) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: the same source is the same file
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    file.writestr(entry, text)
