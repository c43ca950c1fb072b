#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of the same name, where Ansible looks for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zipapp
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Install a command of this collection on a server as one executable file
description:
  - Packs a module of this collection's C(module_utils), with all that it imports, into a zip archive that Python runs, and writes it to
    the server if another file is there. The same source is the same file, byte for byte.
  - The command needs Python 3.9 and nothing else, so timers and people on the server do the same as a playbook.
options:
  module:
    description: Whose C(main()) the command is, as a name below C(module_utils), such as V(backup.cli) or V(logs.command).
    type: str
    required: true
  dest:
    description:
      - Where to put it. Anybody may run it; owner and group are those of the user who writes it.
      - V(backup.cli) and V(logs.command) read C(/etc/<app>/), with the first part of the file's name in the place of C(<app>), as in
        C(shop-backup).
    type: path
    required: true
attributes:
  action:
    description: Runs on the controller.
    support: full
  check_mode:
    description: Says whether the file would be written.
    support: full
  diff_mode:
    description: Names the file, and the checksums of what is there and of what is to be there.
    support: full
"""

EXAMPLES = r"""
- name: Install the backup command
  kasaneha.deploy.zipapp:
    module: backup.cli
    dest: /usr/local/sbin/shop-backup
"""

RETURN = r"""
dest:
  description: The file.
  returned: always
  type: str
checksum:
  description: SHA-1 of the file that is to be there.
  returned: always
  type: str
"""
