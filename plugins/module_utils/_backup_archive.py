# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The engine of the backups as one executable file."""

from __future__ import annotations

# Imported by name: whoever packs a module for a server finds them by these lines.
from ansible_collections.kasaneha.deploy.plugins.module_utils import (
    _archive,
    _backup,
    _backup_cli,
    _backup_drill,
    _backup_dump,
    _backup_file,
    _backup_import,
    _backup_manifest,
    _backup_metrics,
    _backup_moves,
    _backup_plan,
    _backup_postgres,
    _backup_remote,
    _backup_restore,
    _backup_restorer,
    _backup_rows,
    _backup_sets,
    _backup_sql,
    _backup_stream,
    _health,
    _probe,
    _statefile,
)

MODULES = (
    _backup,
    _backup_cli,
    _backup_drill,
    _backup_dump,
    _backup_file,
    _backup_import,
    _backup_manifest,
    _backup_metrics,
    _backup_moves,
    _backup_plan,
    _backup_postgres,
    _backup_remote,
    _backup_restore,
    _backup_restorer,
    _backup_rows,
    _backup_sets,
    _backup_sql,
    _backup_stream,
    _health,
    _probe,
    _statefile,
)


def archive() -> bytes:
    """The bytes of the file."""
    return _archive.pack(MODULES, "_backup_cli")
