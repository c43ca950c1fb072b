# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that is named after its source."""

from __future__ import annotations

DOCUMENTATION = r"""
name: source_release
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Name a release after its source
description:
  - The same files give the same name, so that the same source gives no new release, and a changed one always does.
  - Files that git ignores do not count. The directories are those of the controller.
options:
  _terms:
    description: Directories of the sources.
    type: list
    elements: path
    required: true
  prefix:
    description: What the name begins with.
    type: str
    default: src-
  salt:
    description: What else makes an image another one, such as the arguments of its build.
    type: str
    default: ''
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ lookup('kasaneha.deploy.source_release', '../frontend', '../backend') }}" # src-0123456789ab
"""

RETURN = r"""
_raw:
  description: The name.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import source


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [source.release([str(term) for term in terms], self.get_option("prefix"), self.get_option("salt"))]
        except (OSError, ValueError) as error:
            raise AnsibleError(f"source_release: {error}") from error
