# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""Refuse a set that does not belong here, or that would leave nothing in the place of something, before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import exchange_files, plan, postgres, sql
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest as manifests
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BAD_INPUT, RESTORE_FAILED, BackupError, Config


def refuse_misplaced(config: Config, manifest: Mapping[str, Any], about: Mapping[str, Any], foreign: bool) -> None:
    """Refuse a set that does not belong here, or that this server cannot take.

    :param about: what the server says of itself; ``foreign`` lets in a set of another cluster.
    """
    theirs = manifest["server"]
    if theirs["version_num"] // 10000 > about["version_num"] // 10000:
        raise BackupError(
            f"the set is of PostgreSQL {theirs['version']}, this server is the older {about['version']}.", BAD_INPUT
        )
    if theirs["system_identifier"] != about["system_identifier"] and not foreign:
        raise BackupError(
            f"the set is of another cluster ({theirs['system_identifier']}, this one is {about['system_identifier']}). "
            "If that is meant, as on a new machine, say so: --foreign (foreign: true).",
            BAD_INPUT,
        )
    room = os.statvfs(config.root)
    free, needed = room.f_bavail * room.f_frsize, int(manifest["database"]["size_bytes"] * 1.3)
    if free < needed + (config.reserve_mb << 20):
        raise BackupError(f"{config.root}: {free} bytes are free, {needed} are needed to unpack the set.", BAD_INPUT)


def refuse_empty(config: Config, programs: postgres.Programs, manifest: Mapping[str, Any], databases: Sequence[str]) -> None:
    """Refuse a set that would leave nothing in the place of something, wherever it came from.

    :param databases: those that the live server has.
    :raises BackupError: BAD_INPUT; what the set lacks.
    """
    tables, live_rows = manifests.rows(manifest), False
    if not any(tables.values()) and config.database in databases:
        with programs.session(config.database, RESTORE_FAILED) as session:
            session.ask(sql.QUIET)
            live_rows = bool(session.ask(sql.FILLED))
    unfilled = []
    for files in config.files:
        entry = manifests.artefact(manifest, f"files:{files['name']}")
        if entry and entry["entries"] < 2 and exchange_files.entries(Path(files["path"])):  # the directory itself is one
            unfilled.append(files["path"])
    lacks = plan.missing_contents(tables, live_rows, unfilled)
    if lacks:
        raise BackupError(
            f"{manifest['id']} has {' and '.join(lacks)}. If that is to take the place of what is there, say so: "
            "--allow-empty (allow_empty: true).",
            BAD_INPUT,
        )
