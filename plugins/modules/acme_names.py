#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look whether names lead to this server, before a certificate authority does."""

from __future__ import annotations

DOCUMENTATION = r"""
module: acme_names
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Tell whether names lead to this server, as a certificate authority will see it
description:
  - Puts a random token where challenges of ACME's HTTP-01 are answered from, and fetches it by every name at every address that
    the name has, IPv4 and IPv6. Authorities count failures, so it is better not to ask them for what cannot work.
  - The token is removed again.
options:
  names:
    description: Host names.
    type: list
    elements: str
    required: true
  webroot:
    description: Directory from which the web server answers C(/.well-known/acme-challenge/).
    type: path
    required: true
  port:
    description: Port that is asked; authorities ask 80.
    type: int
    default: 80
  timeout:
    description: Seconds for each answer.
    type: int
    default: 5
attributes:
  check_mode:
    description: Changes nothing that stays.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: See whether both names lead here
  kasaneha.deploy.acme_names:
    names: [kasaneha.app, www.kasaneha.app]
    webroot: /var/lib/nginx-acme
  register: seen
"""

RETURN = r"""
problems:
  description: One sentence for each address that does not lead here. Empty if all do.
  returned: always
  type: list
  elements: str
  sample: ["www.kasaneha.app: 203.0.113.9 (A record) is another server. Correct the record, or take the name off the list."]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import acme


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "webroot": {"type": "path", "required": True},
            "port": {"type": "int", "default": 80},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        problems = (
            acme.look(options["names"], options["webroot"], options["port"], options["timeout"]) if options["names"] else []
        )
    except OSError as error:
        module.fail_json(msg=f"No token can be put into {options['webroot']}: {error}. Is the web server set up?")
    module.exit_json(problems=problems)


if __name__ == "__main__":
    main()
