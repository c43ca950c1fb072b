# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With which options a playbook was started."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_options
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Tell with which options this playbook was started
description:
  - Of C(ansible-playbook) only what decides which tasks are run on which hosts, and in which order.
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ lookup('kasaneha.deploy.run_options').tags }}"
"""

RETURN = r"""
_raw:
  description: The options.
  type: list
  elements: dict
  contains:
    playbook:
      description: As it was started, without its directory; empty if it is none of this collection.
      type: str
    start_at_task:
      description: Of C(--start-at-task).
      type: str
    tags:
      description: Of C(--tags).
      type: list
      elements: str
    skip_tags:
      description: Of C(--skip-tags).
      type: list
      elements: str
    strategy:
      description: That of plays which name none.
      type: str
    refused:
      description: Why a run with these options must not begin; empty if it may.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.plugins.loader import filter_loader
from ansible.plugins.lookup import LookupBase
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import options

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "kasaneha.deploy."


def own(playbooks: list[str]) -> str:
    """The playbooks' names, if all of them are of this collection."""
    ours = [name.startswith(PREFIX) or Path(name).resolve().parent in (ROOT, ROOT / "playbooks") for name in playbooks]
    return ", ".join(name.rpartition("/")[2] for name in playbooks) if all(ours) else ""


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        # A playbook asks first in `hosts`, which Ansible renders in the process of which each task is a fork: filters that are loaded
        # there are not loaded again by each task. All of them, since Ansible goes through their files by name up to the one it needs.
        filter_loader.get("kasaneha.deploy.wired")
        given = context.CLIARGS
        found: dict[str, Any] = {
            "playbook": own([str(name) for name in given.get("args") or ()]),
            "start_at_task": given.get("start_at_task") or "",
            "tags": list(given.get("tags") or ()),
            "skip_tags": list(given.get("skip_tags") or ()),
            "strategy": constants.DEFAULT_STRATEGY,
        }
        return [{**found, "refused": options.refused(found)}]
