#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check an edge from outside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_check
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Check an edge from outside
description:
  - Asks an edge as its users do, and as strangers do, and judges the answers. Delegate it to where users are, e.g. to localhost.
  - It reads only, apart from a POST without a body to each location, and a short burst of requests that meets a rate limit.
options:
  address:
    description: Address or name of the edge.
    type: str
    required: true
  sites:
    description: As in C(nginx_sites).
    type: list
    elements: dict
    required: true
  limits:
    description: As in C(nginx_limits).
    type: dict
    default: {}
  limit_exempt:
    description: As in C(nginx_limit_exempt).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: N/A
"""

EXAMPLES = r"""
- name: Check the site from here
  delegate_to: localhost
  kasaneha.deploy.edge_check:
    address: kasaneha.app
    sites: "{{ nginx_sites }}"
    limits: "{{ nginx_limits }}"
"""

RETURN = r"""
checks:
  description: What was checked, each with C(check), C(problem) (empty if there is none) and C(skipped) (why it could not be).
  returned: always
  type: list
  elements: dict
token:
  description: A word in the path of one request that claimed to come from elsewhere, to be found in the access log.
  returned: always
  type: str
"""

import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.checks import edge as checks_edge
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http


def main() -> None:
    """Ask."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "sites": {"type": "list", "elements": "dict", "required": True},
            "limits": {"type": "dict", "default": {}},
            "limit_exempt": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    edge, token = http.Server(params["address"]), f"verify-{uuid.uuid4().hex}"
    checks = checks_edge.checks(edge, params["sites"], params["limits"], params["limit_exempt"], token) if params["sites"] else []
    module.exit_json(changed=False, checks=checks, token=token)


if __name__ == "__main__":
    main()
