#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a backup set that is proven."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_dump
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Make a proven backup set of a PostgreSQL database and its files
description:
  - Makes a backup I(set) with C(pg_dump), which is more than a dump. It has the dump, roles and properties of the database, the application's
    files, and a manifest with the rows of every table in the dump itself. The set appears by one rename, after everything in it was decoded
    again and is on the disk.
  - Copies it to the remotes of the configuration and removes what retention does not keep; nothing is removed if anything failed.
options:
  app:
    description: Name of the application; its C(/etc/<app>/backup.json), which the role C(backup) writes, says everything else.
    type: str
    required: true
  wait:
    description: How many seconds to wait for another backup, check or restore that is under way.
    type: int
    default: 0
  max_age:
    description: Do nothing if there is a verified set younger than so many seconds; V(0) always makes a new one.
    type: int
    default: 0
  keep:
    description: Let retention never remove this set.
    type: bool
    default: false
  reason:
    description: Why, for the list.
    type: str
    default: ""
  drill:
    description: Restore the dump into a throw-away server while it is made, and compare.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says whether a set would be made.
    support: full
  diff_mode:
    description: Shows the sets before and after.
    support: full
"""

EXAMPLES = r"""
- name: Back up
  kasaneha.deploy.pg_dump:
    app: kasaneha
    reason: by hand

- name: Have a backup of today
  kasaneha.deploy.pg_dump:
    app: kasaneha
    max_age: 86400
"""

RETURN = r"""
set:
  description: The set, as M(kasaneha.deploy.pg_backup_info) shows it.
  returned: when there is one
  type: dict
  sample: {id: 20261125T031801Z-9893ba, bytes: 48123456, rows: 120000, verified: true, drilled: "", offsite: [], keep: false}
copied:
  description: What was copied where.
  returned: success
  type: list
  elements: str
removed:
  description: Names of the sets that retention removed, or would remove.
  returned: success
  type: list
  elements: str
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

import time
from typing import Any

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.module import BackupModule


def predicted(engine: Engine, max_age: int) -> dict[str, Any]:
    """What a run would do, without doing it."""
    engine.sets.ready(create=False)
    fresh = plan.fresh(engine.sets.entries(), time.time(), max_age) if max_age else ""
    return {"changed": not fresh, "copied": [], "removed": [], **({"set": engine.sets.find(fresh).summary()} if fresh else {})}


def main() -> None:
    """Make it."""
    module = BackupModule(
        {
            "max_age": {"type": "int", "default": 0},
            "keep": {"type": "bool", "default": False, "no_log": False},
            "reason": {"type": "str", "default": ""},
            "drill": {"type": "bool", "default": False},
        }
    )
    wanted = module.params
    with module.engine() as engine:
        before = [entry["id"] for entry in engine.info()["sets"]]
        if module.check_mode:
            result = predicted(engine, wanted["max_age"])
            after = [*(["(a new set)"] if result["changed"] else []), *before]
        else:
            result = engine.run(wanted["reason"], wanted["keep"], wanted["max_age"], wanted["wait"], wanted["drill"])
            after = [entry["id"] for entry in engine.info()["sets"]]
        module.done(engine, result, before, after)


if __name__ == "__main__":
    main()
