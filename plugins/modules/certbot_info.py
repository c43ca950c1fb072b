#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show which certificates certbot has and which are served."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certbot_info
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.2.0
short_description: Tell which certificates certbot has, which are served, and how the last renewal went
description:
  - Reads all of it at once. What cannot be read is as what is not there.
  - Changes nothing.
options:
  certificates:
    description: Names of the certificates.
    type: list
    elements: str
    required: true
  install_dir:
    description: Directory of the certificates that are served, as in C(certbot_install_dir).
    type: path
    required: true
requirements: [cryptography]
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read the certificates
  kasaneha.deploy.certbot_info:
    certificates: [kasaneha]
    install_dir: /etc/kasaneha/tls
  register: seen
"""

RETURN = r"""
certificates:
  description:
    - Of each name, C(found), the certificate that certbot has, C(served), the one that nginx has, and C(renewal), certbot's own file on how
      it got it.
    - A certificate is described by some of the words of M(community.crypto.x509_certificate_info), and by none if it cannot be read.
  returned: always
  type: dict
  sample: {kasaneha: {found: {not_after: 20270130000000Z, expired: false}, served: {}, renewal: "server = https://…"}}
last_renewal:
  description: How certbot.service ended last; C(success) if it never ran.
  returned: always
  type: str
  sample: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import certificates

LETSENCRYPT = Path("/etc/letsencrypt")


def content(path: Path) -> bytes:
    """The bytes of a file; none if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "str", "required": True},
            "install_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    served = Path(module.params["install_dir"])
    found = {
        name: {
            "found": certificates.described(content(LETSENCRYPT / "live" / name / "fullchain.pem")),
            "served": certificates.described(content(served / name / "fullchain.pem")),
            "renewal": content(LETSENCRYPT / "renewal" / f"{name}.conf").decode(errors="replace"),
        }
        for name in module.params["certificates"]
    }
    _code, result, _error = module.run_command(["systemctl", "show", "--property=Result", "--value", "certbot.service"])
    module.exit_json(changed=False, certificates=found, last_renewal=result.strip() or "success")


if __name__ == "__main__":
    main()
