# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of a takeover have in common: the options of ``module_utils.adopt.server.OPTIONS``."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment."""

    DOCUMENTATION = r"""
options:
  app:
    description: Name of the application.
    type: str
    required: true
  prefix:
    description: What the names of the old containers begin with; the name of the application and C(_) if it is empty.
    type: str
    default: ""
  services:
    description: What follows the prefix in the names, in the order in which the containers are stopped. V(redis) and V(postgres) hold the data.
    type: list
    elements: str
    default: [nginx, backend, frontend, redis, postgres]
  app_services:
    description: The variable C(app_services); each volume of a service is filled from what its old container has mounted there.
    type: dict
    default: {}
  files:
    description: Directories on the server for volumes that no mount tells, by the volume's name.
    type: dict
    default: {}
  names:
    description: Names of the site, by which a certificate of certbot is found.
    type: list
    elements: str
    default: []
  backup_dir:
    description: Where the backup is to go.
    type: path
    default: /var/backups
"""
