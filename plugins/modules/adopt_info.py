#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a server runs a legacy Compose setup, and what a takeover would do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_info
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Recognise a server that runs a legacy Compose setup
description:
  - Finds the containers of an older deployment by their names, with their database, files, certificate and cron lines, and says what
    M(kasaneha.deploy.adopt) would do and what stops it.
extends_documentation_fragment: [kasaneha.deploy.adopt]
options:
  wanted:
    description: What the inventory wants; PostgreSQL's C(major), C(hosts) of the inventory, C(docker_source). Without it nothing is judged.
    type: dict
    default: {}
  postgres_volume:
    description: The volume that the inventory names for PostgreSQL's data.
    type: str
    default: ""
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: It never changes anything.
    support: none
"""

EXAMPLES = r"""
- name: Find an older deployment
  kasaneha.deploy.adopt_info:
    app: kasaneha
  register: found
"""

RETURN = r"""
phase:
  description: >-
    How far a takeover came; empty before it began, then V(saved), V(rehearsed), V(switching), V(done), V(retired), and V(returned) after
    the way back.
  returned: always
  type: str
services:
  description: The old containers by service.
  returned: always
  type: dict
files:
  description: Directories to copy, with C(name), C(source), C(target) and C(owner).
  returned: always
  type: list
  elements: dict
certificate:
  description: The directory with the certificate of the old site; empty for none.
  returned: always
  type: str
hint:
  description: What site.yml says on such a server; empty when there is nothing to take over.
  returned: always
  type: str
standing:
  description: How a takeover stands, in a line; empty where there is none.
  returned: always
  type: str
plan:
  description: What a takeover would do, a line each.
  returned: always
  type: list
  elements: str
problems:
  description: What stops it, a sentence each.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt import decide, server

RESERVE = 1_000_000_000  # bytes that a takeover leaves free, for images and logs


def volume_problems(containers: list[dict[str, Any]], app: str, volume: str) -> list[str]:
    """An inventory that names another volume than the one in use would start an empty database."""
    for entry in containers:
        if volume and entry["Name"] == f"/{app}-postgres" and decide.LABEL in (entry["Config"].get("Labels") or {}):
            used = [mount["Name"] for mount in entry.get("Mounts") or [] if mount.get("Name")]
            if used and volume not in used:
                return [
                    f"app_postgres_volume: the database is in the volume {used[0]}, not in {volume}. Set app_postgres_volume: {used[0]}."
                ]
    return []


def main() -> None:
    """Look, and tell."""
    extra = {"wanted": {"type": "dict", "default": {}}, "postgres_volume": {"type": "str", "default": ""}}
    module = AnsibleModule(argument_spec={**server.OPTIONS, **extra}, supports_check_mode=True)
    params = module.params
    try:
        journal = server.journal(params["app"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    phase, installed = journal.get("phase", ""), bool(server.installed(params["app"]))
    old, facts = server.look(module.run_command, params)
    problems = volume_problems(server.inspected(module.run_command), params["app"], params["postgres_volume"])
    if params["wanted"] and old["services"] and phase not in decide.TAKEN:
        problems += decide.problems(old, facts, {"reserve": RESERVE, **params["wanted"]})
    module.exit_json(
        phase=phase,
        services=old["services"],
        files=facts["files"],
        certificate=facts.get("certificate", ""),
        hint=decide.hint(old, phase, installed),
        standing=decide.standing(old, journal, installed),
        plan=decide.plan(old, facts, phase),
        problems=problems,
    )


if __name__ == "__main__":
    main()
