# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for a file that is encrypted where a vault password is at hand."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_encrypted
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Encrypt text with the vault password of this run
description:
  - Uses what C(ansible-playbook) was given, with C(--vault-password-file), C(--vault-id), C(--ask-vault-pass) or by configuration; of several
    vault IDs that of C(vault_encrypt_identity), or else the first one.
  - Without a vault password the text stays as it is.
options:
  _terms:
    description: Texts.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Write the secrets
  ansible.builtin.copy:
    content: "{{ lookup('kasaneha.deploy.vault_encrypted', lookup('ansible.builtin.template', 'vault.yml.j2')) }}"
    dest: group_vars/all/vault.yml
    decrypt: false
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The texts, each as C(ansible-vault encrypt) writes it, or as it was.
  type: list
  elements: str
"""

from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, match_encrypt_secret
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """See DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        known = self._loader._vault.secrets  # ansible-core has no public way to them
        if not known:
            return list(terms)
        try:
            name, secret = match_encrypt_secret(
                known, encrypt_vault_id=constants.config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY")
            )
            return [VaultLib(known).encrypt(str(term), secret=secret, vault_id=name).decode() for term in terms]
        except AnsibleError as error:
            raise AnsibleError(f"vault_encrypted: {error}") from error
