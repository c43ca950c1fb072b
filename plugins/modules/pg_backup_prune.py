#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what retention does not keep."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_prune
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Remove the backups that retention does not keep
description:
  - Keeps by the rules of the configuration, and never less than its C(min_keep) verified sets, never the newest one, never one that
    somebody wants kept or that is not yet copied where it must be. Without a verified set of the last two days it removes nothing.
  - Copies elsewhere go with their set; what is only there stays.
options:
  app:
    description: Name of the application; its C(/etc/<app>/backup.json), which the role C(backup) writes, says everything else.
    type: str
    required: true
  wait:
    description: How many seconds to wait for another backup, check or restore that is under way.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: Shows the sets before and after, with the reasons.
    support: full
"""

EXAMPLES = r"""
- name: Look at what would go
  kasaneha.deploy.pg_backup_prune:
    app: kasaneha
  check_mode: true
  diff: true
"""

RETURN = r"""
keep:
  description: Set to the reasons why it stays.
  returned: success
  type: dict
  sample: {20261125T031801Z-9893ba: [newest verified, daily]}
removed:
  description: Names of the sets that were removed, or would be.
  returned: success
  type: list
  elements: str
note:
  description: Why nothing was removed, if something else than the rules says so.
  returned: success
  type: str
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
    """Remove them."""
    module = BackupModule({})
    with module.engine() as engine:
        decided = engine.prune(dry_run=True)
        kept = [f"{name}: {', '.join(why)}" for name, why in decided["keep"].items()]
        before = sorted([*kept, *(f"{name}: nothing keeps it" for name in decided["removed"])])
        result = decided if module.check_mode else engine.prune(wait=module.params["wait"])
        module.done(engine, result, before, sorted(kept))


if __name__ == "__main__":
    main()
