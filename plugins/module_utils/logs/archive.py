# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""The command ``<app>-logs`` as one executable file."""

from __future__ import annotations

# Imported by name: whoever packs a module for a server finds them by these lines.
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import zipapp
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import (
    collector,
    command,
    docker,
    files,
    journal,
    lines,
    redact,
)

MODULES = (collector, command, docker, files, journal, lines, redact)


def archive() -> bytes:
    """The bytes of the file."""
    return zipapp.pack(MODULES, "logs.command")
