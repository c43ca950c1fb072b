#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a backup set in the place of what is there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Restore a backup set in the place of the live database and files
description:
  - Restores a backup I(set) with C(pg_restore) into a new database, compares it with the manifest of the set, and only then exchanges
    both by name in one transaction, while nobody is let in for less than a second or two. Files are exchanged with it.
  - If the application does not answer afterwards, everything is put back as it was. What was replaced is kept, and O(state=undone)
    returns to it.
  - A run that died is undone by the next one.
options:
  app:
    description: Name of the application; its C(/etc/<app>/backup.json), which the role C(backup) writes, says everything else.
    type: str
    required: true
  wait:
    description: How many seconds to wait for another backup, check or restore that is under way.
    type: int
    default: 0
  backup:
    description:
      - Name of a set, V(latest) for the newest one that has any rows, or the path of a C(.sql) or C(.sql.gz) on the server.
      - If the newest set is not verified, V(latest) is refused with the names of that one and of the newest verified one.
    type: str
    default: latest
  files:
    description: The archive of files that belongs to a C(.sql) or C(.sql.gz), as a path on the server.
    type: str
    default: ""
  state:
    description: Whether to restore, or to return to what the last restore replaced.
    type: str
    choices: [restored, undone]
    default: restored
  foreign:
    description:
      - Take a set of another cluster, as on a new machine. V(latest) is then the newest of another cluster.
    type: bool
    default: false
  allow_empty:
    description:
      - Take a set that has no table, no row where the live database has some, or no file where there are some. Without this it is refused,
        because it is nearly always a mistake (C(pg_dump --schema-only), a directory that was not mounted).
    type: bool
    default: false
  safety:
    description: Back up first what is there.
    type: bool
    default: true
  probe:
    description: Ask the application whether it works afterwards.
    type: bool
    default: true
  identity:
    description: The private key of age for a set that is encrypted. It goes to the server through a pipe and is written nowhere.
    type: str
    default: ""
attributes:
  check_mode:
    description: Checks the set and says what would be replaced.
    support: full
  diff_mode:
    description: Shows the rows of every table, those of the live database and those that take their place.
    support: full
"""

EXAMPLES = r"""
- name: Restore the newest backup
  kasaneha.deploy.pg_restore:
    app: kasaneha

- name: Return to what was there before
  kasaneha.deploy.pg_restore:
    app: kasaneha
    state: undone
"""

RETURN = r"""
set:
  description: The set, as M(kasaneha.deploy.pg_backup_info) shows it.
  returned: O(state=restored)
  type: dict
  sample: {id: 20261125T031801Z-9893ba, bytes: 48123456, rows: 120000, verified: true, drilled: "", offsite: [], keep: false}
saved:
  description: The set that was made first of what was there; empty for none.
  returned: O(state=restored)
  type: str
kept:
  description: Name of the database that was replaced and is kept.
  returned: success
  type: str
closed_seconds:
  description: For how long nobody was let into the database.
  returned: success
  type: float
phases:
  description: How many seconds each phase took, by its name.
  returned: O(state=restored)
  type: dict
  sample: {check: 0.3, unpack: 0.9, restore: 11.2, compare: 1.1, files: 0.1, exchange: 0.2, probe: 0.1, end: 0.4}
notes:
  description: What the operator should know though it worked.
  returned: success
  type: list
  elements: str
code:
  description: >-
    Why it failed, as the exit code of the command on the server; V(2) bad input, V(3) another one is at work, V(4) the dump failed,
    V(5) a check failed, V(6) the set is good but not copied everywhere, V(7) the restore failed and the live data was not touched,
    V(8) the restore failed and everything is as it was before, V(9) this host could not make a check, which says nothing of the set.
  returned: failure
  type: int
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import manifest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.module import BackupModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BackupError


def predicted(engine: Engine, wanted: dict[str, Any]) -> dict[str, Any]:
    """What a restore would do; a set that cannot be restored fails here already."""
    nothing = {"changed": True, "saved": "", "kept": "", "closed_seconds": 0.0}
    if wanted["state"] == "undone":
        engine.restore.previous()
        return nothing
    if wanted["backup"].endswith((".sql", ".sql.gz")):
        return nothing
    return {**nothing, "set": engine.restore.check(wanted["backup"], wanted["foreign"], wanted["allow_empty"]).summary()}


def lines(rows: Mapping[str, int]) -> str:
    """The rows of every table, for the diff."""
    return "".join(f"{table} {count}\n" for table, count in sorted(rows.items()))


def live(engine: Engine, database: str = "") -> str:
    """The rows of every table as they are; on a server that cannot be asked there are none to lose."""
    try:
        return lines(engine.live_rows(database))
    except BackupError as error:
        engine.notes.append(f"The rows of the live database could not be counted: {error}")
        return ""


def main() -> None:
    """Restore."""
    module = BackupModule(
        {
            "backup": {"type": "str", "default": "latest"},
            "files": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["restored", "undone"], "default": "restored"},
            "foreign": {"type": "bool", "default": False},
            "allow_empty": {"type": "bool", "default": False},
            "safety": {"type": "bool", "default": True},
            "probe": {"type": "bool", "default": True},
            "identity": {"type": "str", "default": "", "no_log": True},
        }
    )
    wanted = module.params
    with module.engine() as engine:
        before = live(engine) if module._diff else ""
        if module.check_mode:
            result = predicted(engine, wanted)
        elif wanted["state"] == "undone":
            result = engine.restore.undo(wanted["wait"])
        else:
            result = engine.restore.run(
                wanted["backup"],
                wanted["identity"],
                wanted["foreign"],
                wanted["safety"],
                wanted["probe"],
                wanted["files"],
                wanted["wait"],
                wanted["allow_empty"],
            )
        after = before
        if "set" in result:
            after = lines(manifest.rows(engine.sets.find(result["set"]["id"]).manifest))
        elif module._diff and not wanted["backup"].endswith((".sql", ".sql.gz")):
            after = live(engine, engine.restore.previous()["going"] if module.check_mode else "")
        module.done(engine, result, before, after)


if __name__ == "__main__":
    main()
