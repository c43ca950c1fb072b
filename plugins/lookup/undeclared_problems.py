# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that are nearly one of this collection's."""

from __future__ import annotations

DOCUMENTATION = r"""
name: undeclared_problems
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Find misspelt variables of a host
description:
  - A variable that no role declares and no playbook reads counts for nothing. One that is one or two letters from a variable that
    counts is a problem.
options:
  _terms:
    description: None; the variables of the host are judged.
    type: list
    elements: str
"""

EXAMPLES = r"""
- ansible.builtin.assert:
    that: lookup('kasaneha.deploy.undeclared_problems') | length == 0
"""

RETURN = r"""
_raw:
  description: One sentence for each problem, with the variable that may be meant. Empty if there is none.
  type: list
  elements: list
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import names
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import _argument_specs


def declared() -> frozenset[str]:
    """Every variable that a role declares or a playbook reads."""
    return names.PLAYBOOK_VARIABLES.union(*(_argument_specs.options(role) for role in _argument_specs.roles()))


def facts() -> list[str]:
    """What each role may report to a playbook; the names of other facts are like no variable's."""
    return [f"{role}_{kind}" for role in _argument_specs.roles() for kind in ("problems", "checks")]


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        return [names.undeclared_problems(variables or {}, declared(), facts())]
