# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The command ``<app>-logs`` as one executable file."""

from __future__ import annotations

# Imported by name: whoever packs a module for a server finds them by these lines.
from ansible_collections.kasaneha.deploy.plugins.module_utils import (
    _archive,
    _logs_collect,
    _logs_command,
    _logs_docker,
    _logs_files,
    _logs_journal,
    _logs_lines,
    _logs_redact,
)

MODULES = (_logs_collect, _logs_command, _logs_docker, _logs_files, _logs_journal, _logs_lines, _logs_redact)


def archive() -> bytes:
    """The bytes of the file."""
    return _archive.pack(MODULES, "_logs_command")
