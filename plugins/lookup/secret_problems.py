# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as they stand in an inventory, and as they arrive."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_problems
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Judge secrets where they stand in the inventory
description:
  - Finds secrets that are missing, placeholders or too short, and looks at the texts from which they are made.
  - A text of an inventory with C({{), C({%) or C({#) is a template, unless C(!unsafe) stands before it. A secret with these characters
    would arrive changed, or stop the run with an error that shows a part of it. It is found wherever it stands, such as in the vault.
  - No sentence holds the value of a secret.
options:
  _terms:
    description: Name of the variable that holds the secrets.
    type: list
    elements: str
    required: true
  needed:
    description: Names of the secrets that something reads.
    type: list
    elements: str
    default: []
  strict:
    description: Whether placeholders and values of less than 16 characters are refused as well.
    type: bool
    default: true
  one_line:
    description: Names of the secrets that must be one line.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- ansible.builtin.assert:
    that: lookup('kasaneha.deploy.secret_problems', 'app_secrets', needed=['jwt_secret']) | length == 0
"""

RETURN = r"""
_raw:
  description: One sentence for each problem, with what it is about, what is wrong and what to do. Empty if there is none.
  type: list
  elements: list
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import is_trusted_as_template
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import problems as inventory_problems
from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import templates
from jinja2 import Environment, TemplateSyntaxError, nodes

# What Jinja and Ansible bring themselves. To name one without calling it is no use: `{{ q }}` of a secret is a function's address.
FUNCTIONS = frozenset("cycler dict joiner lipsum lookup namespace now q query range undef".split())


def names(text: Any, variables: Mapping[str, Any]) -> frozenset[str] | None:
    """The variables and functions to which a text refers; None if it is no template.

    :raises ValueError: it looks like one and is none.
    """
    if not isinstance(text, str) or not is_trusted_as_template(text) or not templates.DELIMITER.search(text):
        return None
    try:
        tree = Environment(autoescape=True).parse(text)  # only read, never rendered
    except TemplateSyntaxError as error:
        raise ValueError("no template") from error
    found = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
    called = {node.node.name for node in tree.find_all(nodes.Call) if isinstance(node.node, nodes.Name)}
    return frozenset(found - (FUNCTIONS - called - variables.keys()))


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        name, known = terms[0], variables or {}
        problems = templates.template_problems(name, known, lambda text: names(text, known), self.value)
        try:
            secrets = self.value(known[name])
        except ValueError:
            return [problems]  # which say why
        needed, strict, one_line = (self.get_option(option) for option in ("needed", "strict", "one_line"))
        return [problems + inventory_problems.secret_problems(secrets, needed, strict, name, one_line)]

    def value(self, raw: Any) -> Any:
        """What becomes of a value.

        :raises ValueError: it cannot be evaluated; what Ansible says of that may be a part of the secret.
        """
        try:
            return self._templar.template(raw)
        except AnsibleError as error:
            raise ValueError("it cannot be evaluated") from error
