# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Booleans and numbers of a role that would be read in two ways."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cast_problems
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Judge a role's booleans and numbers
description:
  - What C(-e) and INI inventories say is a string. Roles cast it where they read it; what an argument specification and a cast
    would understand differently is a problem.
options:
  _terms:
    description: The path of the role, whose argument specification says which variables these are.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- ansible.builtin.assert:
    that: lookup('kasaneha.deploy.cast_problems', role_path) | length == 0
"""

RETURN = r"""
_raw:
  description: One sentence for each problem, with what it is about, what is wrong and what to do. Empty if there is none.
  type: list
  elements: list
"""

from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.lookup import LookupBase
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        options = yaml.safe_load(Path(terms[0], "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"][
            "options"
        ]
        names = [name for name, option in options.items() if option.get("type") in ("bool", "int") and name in (variables or {})]
        return [problems.cast_problems(options, {name: self._templar.template(variables[name]) for name in names})]
