# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Commands for servers, each one executable file: a zip archive of modules of this collection, the same bytes every time."""

from __future__ import annotations

import ast
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "ansible_collections.kasaneha.deploy.plugins.module_utils"
ROOT = Path(__file__).parents[1] / "module_utils"


def pack(entry: str, root: Path = ROOT) -> bytes:
    """The bytes of the file.

    :param entry: the module whose ``main()`` the command is, such as ``backup.cli``; all that it imports is packed with it.
    :raises ValueError: there is no such module, or the command would need more than Python.
    """
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/python3\n")
    modules = closure(entry, root)
    names = [f"{PACKAGE}.{module}" for module in modules]
    packages = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    with zipfile.ZipFile(packed, "a") as file:
        for package in sorted(packages):
            _add(file, f"{package.replace('.', '/')}/__init__.py", "")
        for name, source in zip(names, modules.values()):
            _add(file, f"{name.replace('.', '/')}.py", source)
        _add(file, "__main__.py", f"import sys\nfrom {PACKAGE}.{entry} import main\nsys.exit(main())\n")
    return packed.getvalue()


def closure(entry: str, root: Path = ROOT) -> dict[str, str]:
    """A module and all of this collection that it imports, in alphabetical order: name below ``module_utils`` -> source.

    :raises ValueError: a module is missing, or imports what a server does not have.
    """
    found: dict[str, str] = {}
    left = [entry]
    while left:
        name = left.pop()
        if name in found:
            continue
        path = _path(name, root)
        if not path.is_file():
            raise ValueError(f"{name}: there is no {path}.")
        found[name] = path.read_text(encoding="utf-8")
        for imported in _imports(found[name], root):
            if imported.startswith(f"{PACKAGE}."):
                left.append(imported[len(PACKAGE) + 1 :])
            elif imported.partition(".")[0] not in sys.stdlib_module_names:
                raise ValueError(f"{name} imports {imported}: a server has Python's standard library and no more.")
    return dict(sorted(found.items()))


def _imports(source: str, root: Path) -> Iterator[str]:
    """Every module that is imported, wherever the statement stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:  # a module of a package, or a name of a module
                module = f"{base}.{alias.name}"
                inside = module.startswith(f"{PACKAGE}.") and _path(module[len(PACKAGE) + 1 :], root).is_file()
                yield module if inside else base


def _path(name: str, root: Path) -> Path:
    return root / f"{name.replace('.', '/')}.py"


def _add(file: zipfile.ZipFile, name: str, text: str) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: the same source is the same file
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    file.writestr(entry, text)
