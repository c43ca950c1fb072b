#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the secrets of a colour."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_files
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Let a directory hold certain files of secrets and nothing else
description:
  - In the directory, each service gets a directory of its own, and in it a file for each of its secrets.
  - What is on the disk is compared (content, mode, owner), so that in check mode this tells whether it is as the inventory says.
  - A file is replaced by one rename. What is not named is removed.
options:
  path:
    description: The directory. Its parent has to exist.
    type: path
    required: true
  files:
    description: Service, name of a secret, value.
    type: dict
    required: true
  owners:
    description: Service to the user ID of its containers, who own its files.
    type: dict
    default: {}
  private:
    description:
      - Whether only the owner reads the files, which needs the rights of root.
      - V(false) is for a directory that nobody but its user reaches; containers of any user read what is mounted.
    type: bool
    default: true
  app:
    description: Name of the application, for O(run).
    type: str
  run:
    description: The run of a release that this belongs to. One that lost its lock is refused, and changes nothing.
    type: str
attributes:
  check_mode:
    description: Says what differs.
    support: full
  diff_mode:
    description: Secrets are not shown; RV(differs) names what differs.
    support: none
"""

EXAMPLES = r"""
- name: Write the secrets of the colour
  kasaneha.deploy.secret_files:
    path: /etc/kasaneha/secrets/green
    files: {backend: {jwt_secret: "{{ vault_jwt_secret }}"}}
    owners: {backend: "10001"}
"""

RETURN = r"""
differs:
  description: Paths below the directory that differed, V(.) for itself; never a value.
  returned: success
  type: list
  elements: str
  sample: [backend/jwt_secret]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import fence, secrets


def main() -> None:
    """Compare, and write what differs."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True, "no_log": True},
            "owners": {"type": "dict", "default": {}},
            "private": {"type": "bool", "default": True},
            "app": {"type": "str"},
            "run": {"type": "str"},
        },
        required_by={"run": ["app"]},
        supports_check_mode=True,
    )
    params, directory = module.params, Path(module.params["path"])
    try:
        desired = secrets.desired(params["files"], params["owners"], params["private"])
        found = secrets.observe(directory, params["private"])
        differs = secrets.differences(found, desired)
        if differs and not module.check_mode:
            with fence.allowed(params["app"], params["run"]):
                secrets.apply(directory, found, desired)
    except fence.HeldError as error:
        module.fail_json(msg=str(error))
    except ValueError as error:
        module.fail_json(msg=f"app_secrets: {error}")
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or directory}: {error.strerror}. Is the disk full, or the directory above it gone?"
        )
    module.exit_json(changed=bool(differs), differs=differs)


if __name__ == "__main__":
    main()
