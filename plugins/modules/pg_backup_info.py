#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the backups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_info
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Show the backups of an application
description:
  - Lists the sets, damaged ones as well, and the restore that can be returned from.
  - Changes nothing.
options:
  app:
    description: Name of the application; its C(/etc/<app>/backup.json), which the role C(backup) writes, says everything else.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read the backups
  kasaneha.deploy.pg_backup_info:
    app: kasaneha
  register: backups
"""

RETURN = r"""
sets:
  description: Every set, newest first; C(problem) says why one cannot be used.
  returned: success
  type: list
  elements: dict
  sample:
    - {id: 20261125T031801Z-9893ba, bytes: 48123456, rows: 120000, verified: true, drilled: "2026-11-25T03:30:00Z", offsite: ["s3:b/c"],
       encrypted: false, keep: false, reason: timer, release: v1.1.0, warnings: [], problem: "", started_at: "2026-11-25T03:18:01Z",
       cluster: "7577012345678901234", fetched: ""}
latest:
  description: The newest verified set that has any rows, or else the newest verified one; empty when there is none.
  returned: success
  type: dict
restore:
  description: The last restore; C(going) is the database that it replaced.
  returned: success
  type: dict
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
    """Look."""
    module = BackupModule({}, wait=False)
    with module.engine() as engine:
        module.exit_json(**engine.info())


if __name__ == "__main__":
    main()
