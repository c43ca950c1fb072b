#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove a backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_verify
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Prove a backup, up to restoring it into a throw-away server
description:
  - Compares every byte of a set with what the set says of itself, decodes it, or restores it into a throw-away server of the same image
    without network and compares every table.
  - A set that fails does not count as a backup any more.
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
    description: Name of a set, V(latest) for the newest verified one, or V(all) except for a drill.
    type: str
    default: latest
  level:
    description:
      - V(checksum) compares the bytes, V(decode) reads the dump as well, V(drill) restores it.
      - Of an encrypted set nothing can be decoded without O(identity). A drill then makes a new set, and restores it while it is made.
    type: str
    choices: [checksum, decode, drill]
    default: decode
  identity:
    description: The private key of age for a set that is encrypted. It goes to the server through a pipe and is written nowhere.
    type: str
    default: ""
attributes:
  check_mode:
    description: Compares the bytes, and writes nothing down.
    support: full
  diff_mode:
    description: Changes nothing that is kept.
    support: none
"""

EXAMPLES = r"""
- name: Restore the newest backup where it can do no harm
  kasaneha.deploy.pg_backup_verify:
    app: kasaneha
    level: drill
"""

RETURN = r"""
sets:
  description: The sets that were checked, as M(kasaneha.deploy.pg_backup_info) shows them.
  returned: success
  type: list
  elements: dict
seconds:
  description: How long the restore took; V(0) for the other levels.
  returned: success
  type: float
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

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.module import BackupModule


def main() -> None:
    """Check."""
    module = BackupModule(
        {
            "backup": {"type": "str", "default": "latest"},
            "level": {"type": "str", "choices": ["checksum", "decode", "drill"], "default": "decode"},
            "identity": {"type": "str", "default": "", "no_log": True},
        }
    )
    wanted = module.params
    with module.engine() as engine:
        if module.check_mode:
            chosen = engine.sets.all() if wanted["backup"] == "all" else [engine.sets.find(wanted["backup"])]
            for found in chosen:
                engine.sets.check_bytes(found)
            module.exit_json(changed=False, sets=[found.summary() for found in chosen], seconds=0.0, notes=[])
        if wanted["level"] == "drill":
            drilled = engine.drill(wanted["backup"], wanted["identity"], wanted["wait"])
            result = {"changed": False, "sets": [drilled["set"]], "seconds": drilled["seconds"]}
        else:
            result = {**engine.verify(wanted["backup"], wanted["identity"], wanted["wait"], wanted["level"]), "seconds": 0.0}
        module.exit_json(**result, notes=engine.notes)


if __name__ == "__main__":
    main()
