#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See which ports answer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_scan
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: See which TCP ports of a host answer
description:
  - Connects to each port, from where it runs; delegate it to where the answer matters. It needs no rights.
options:
  addresses:
    description: Addresses or names to look at, each on its own.
    type: list
    elements: str
    required: true
  ports:
    description: Ports and ranges, such as V(22,80,8000:8010); those that are often left open if it is empty.
    type: str
    default: ""
  also:
    description: Ports to look at besides.
    type: list
    elements: int
    default: []
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 1.5
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: N/A
"""

EXAMPLES = r"""
- name: Scan the server from here
  delegate_to: localhost
  kasaneha.deploy.port_scan:
    addresses: [192.0.2.7, "2001:db8::7"]
    ports: 1:65535
"""

RETURN = r"""
scans:
  description: One for each address, with C(address), C(ports) (port to V(open), V(refused) or V(silent)) and C(error) if there is no way to it.
  returned: always
  type: list
  elements: dict
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import scan as firewall_scan


def main() -> None:
    """Knock."""
    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "ports": {"type": "str", "default": ""},
            "also": {"type": "list", "elements": "int", "default": []},
            "timeout": {"type": "float", "default": 1.5},
        },
        supports_check_mode=True,
    )
    try:
        wanted = sorted({*firewall_scan.ports(module.params["ports"] or firewall_scan.USUAL), *module.params["also"]})
    except ValueError as error:
        module.fail_json(msg=f"ports: {error}.")
    scans: list[dict[str, Any]] = []
    for name in module.params["addresses"]:
        scan: dict[str, Any] = {"address": name, "ports": {}, "error": ""}
        try:
            scan["address"] = str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
            scan["ports"] = firewall_scan.scan(scan["address"], wanted, module.params["timeout"])
        except OSError as error:
            scan["error"] = error.strerror or str(error)
        scans.append(scan)
    module.exit_json(changed=False, scans=scans)


if __name__ == "__main__":
    main()
