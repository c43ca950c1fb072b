# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The engine of the backups as one executable file."""

from __future__ import annotations

# Imported by name: whoever packs a module for a server finds them by these lines.
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import (
    cli,
    drill,
    dump,
    engine,
    file,
    import_dumps,
    manifest,
    metrics,
    plan,
    postgres,
    remote,
    restore,
    restorer,
    rows,
    sets,
    sql,
    stream,
    swap,
)
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http, statefile, zipapp
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import health

MODULES = (
    engine,
    cli,
    drill,
    dump,
    file,
    import_dumps,
    manifest,
    metrics,
    swap,
    plan,
    postgres,
    remote,
    restore,
    restorer,
    rows,
    sets,
    sql,
    stream,
    health,
    http,
    statefile,
)


def archive() -> bytes:
    """The bytes of the file."""
    return zipapp.pack(MODULES, "backup.cli")
