#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take over a server from a legacy Compose setup, a step at a time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Take over a server from a legacy Compose setup
description:
  - One step of C(playbooks/adopt.yml), which says in which order they come and what must be there before each. A step that is done is not
    done again; one that died is put right by the next run.
  - The old containers are stopped, never removed, and their volumes are not written to.
  - The role C(backup) has written its C(/etc/<app>/backup.json) before.
extends_documentation_fragment: [kasaneha.deploy.adopt]
options:
  state:
    description:
      - V(saved), there is a proven backup of the old database and files.
      - V(rehearsed), everything was copied while the old site serves, and our application answers on it.
      - V(switched), the old site is stopped, the rest is copied, and ours serves; whatever fails, the old one serves again.
      - V(retired), the old databases are stopped as well, and the old lines are out of the crontabs.
      - V(returned), the old containers serve again, with the data that they had when they were stopped.
    type: str
    required: true
    choices: [saved, rehearsed, switched, retired, returned]
  migrations:
    description: The variable C(app_migrations), whose C(command) runs after each copy.
    type: dict
    default: {}
  probes:
    description: What the new site must answer, C(name) and C(path) each.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Says whether the step would be done.
    support: full
  diff_mode:
    description: M(kasaneha.deploy.adopt_info) has the plan.
    support: none
"""

EXAMPLES = r"""
- name: Make a proven backup of the old site
  kasaneha.deploy.adopt:
    app: kasaneha
    state: saved
"""

RETURN = r"""
phase:
  description: How far the takeover came, as M(kasaneha.deploy.adopt_info) says it.
  returned: success
  type: str
closed_seconds:
  description: For how long neither site answered, when it was switched or returned; V(none) if that run died.
  returned: success
  type: float
set:
  description: Name of the backup that was made first.
  returned: success
  type: str
rows:
  description: How many rows the last copy had.
  returned: success
  type: int
cron:
  description: Lines that were taken out of the crontabs, by file.
  returned: success
  type: dict
notes:
  description: What the operator should know though it worked.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt import server
from ansible_collections.kasaneha.deploy.plugins.module_utils.adopt.switch import AdoptError, Takeover
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BackupError


def main() -> None:
    """Do one step."""
    extra = {
        "state": {"type": "str", "required": True, "choices": ["saved", "rehearsed", "switched", "retired", "returned"]},
        "migrations": {"type": "dict", "default": {}},
        "probes": {"type": "list", "elements": "dict", "default": []},
    }
    module = AnsibleModule(argument_spec={**server.OPTIONS, **extra}, supports_check_mode=True)
    state = module.params["state"]
    try:
        with server.alone(module.params["app"]):
            takeover = Takeover(module.run_command, module.params, *server.look(module.run_command, module.params))
            steps = {
                "saved": takeover.save,
                "rehearsed": takeover.rehearse,
                "switched": takeover.switch,
                "retired": takeover.retire,
                "returned": takeover.back,
            }
            changed = takeover.due(state) if module.check_mode else steps[state]()
    except (AdoptError, BackupError, ValueError) as error:
        module.fail_json(msg=str(error))
    journal = takeover.journal
    module.exit_json(
        changed=changed,
        phase=takeover.phase,
        closed_seconds=journal.get("closed_seconds"),
        set=journal.get("set", ""),
        rows=journal.get("rows", 0),
        cron=journal.get("cron", {}),
        notes=takeover.notes,
    )


if __name__ == "__main__":
    main()
