#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the command that collects and searches logs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: logs_command
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Install the command that collects and searches logs
description:
  - Writes one executable file, a zip archive with the collector and the search. It needs Python 3.9 and nothing else.
options:
  path:
    description: Where to put it; its name has to be C(<app>-logs), which tells it whose C(/etc/<app>/logs.json) to read.
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
  kasaneha.deploy.logs_command:
    path: /usr/local/sbin/kasaneha-logs
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import zipapp
from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import archive as logs_archive


def main() -> None:
    """Write it, if it is another one."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    zipapp.install(module, logs_archive.archive())


if __name__ == "__main__":
    main()
