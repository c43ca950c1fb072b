# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs this playbook."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_owner
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Tell who runs this playbook, and whether another run's owner still lives
description:
  - Without a term it names the user, the controller and the process of this run.
  - With the owner of another run as term it tells whether that process lives; C(null) when it ran on another machine.
options:
  _terms:
    description: The owner of another run.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ lookup('kasaneha.deploy.run_owner') }}"
"""

RETURN = r"""
_raw:
  description: The owner of this run, or whether the given one lives.
  type: list
  elements: raw
"""

import getpass
import socket
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import owner


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        here = owner.describe(getpass.getuser(), socket.gethostname())
        return [owner.alive(dict(term), here) for term in terms] if terms else [here]
