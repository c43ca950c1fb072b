#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the backup command on a server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_command
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Install the backup command on a server
description:
  - Writes one executable file, a zip archive with the engine that the other modules of this collection use themselves. It needs
    Python 3.9 and nothing else, so timers and people on the server do the same as a playbook.
options:
  path:
    description: Where to put it; its name has to be C(<app>-backup), which tells it whose C(/etc/<app>/backup.json) to read.
    type: path
    required: true
attributes:
  check_mode:
    description: Says whether the file would be written.
    support: full
  diff_mode:
    description: Names the file that would be written.
    support: full
"""

EXAMPLES = r"""
- name: Install the command
  kasaneha.deploy.pg_backup_command:
    path: /usr/local/sbin/kasaneha-backup
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import archive as backup_archive
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import zipapp


def main() -> None:
    """Write it, if it is another one."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    zipapp.install(module, backup_archive.archive())


if __name__ == "__main__":
    main()
