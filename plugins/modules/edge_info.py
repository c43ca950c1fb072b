#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what the configuration of an edge depends on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_info
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.2.0
short_description: Tell what the configuration of an edge depends on
description:
  - Reads the version and the modules of nginx, whether the host has IPv6, and which certificates are there.
  - Changes nothing.
options:
  tls_dir:
    description: Directory of the certificates, as in C(nginx_tls_dir).
    type: path
    required: true
  certificates:
    description: Names of the certificates that the sites have.
    type: list
    elements: str
    required: true
  placeholder:
    description: Name of the directory in O(tls_dir) with the certificate that takes the place of one that is missing.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read what this edge has
  kasaneha.deploy.edge_info:
    tls_dir: /etc/kasaneha/tls
    certificates: [kasaneha]
    placeholder: placeholder-0a1b2c3d
  register: seen
"""

RETURN = r"""
version:
  description: What C(nginx -V) prints; empty where there is no nginx.
  returned: always
  type: str
brotli:
  description: Whether nginx loads the module for Brotli.
  returned: always
  type: bool
ipv6:
  description: Whether the host has IPv6.
  returned: always
  type: bool
missing:
  description: Certificates that must be replaced by the placeholder, since they are not there, not whole, or a placeholder for other names.
  returned: always
  type: list
  elements: str
placeholders:
  description: Certificates that are the placeholder, or will be.
  returned: always
  type: list
  elements: str
aside:
  description: Those of RV(missing) in whose place a directory is, which is what is left of a certificate.
  returned: always
  type: list
  elements: str
stale:
  description: Whether the placeholder is needed and ends within a month.
  returned: always
  type: bool
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import certificates

NGINX = "/usr/sbin/nginx"
BROTLI = "/etc/nginx/modules-enabled/50-mod-http-brotli-filter.conf"
IPV6 = "/proc/net/if_inet6"
MONTH = 30 * 24 * 3600  # seconds


def place(path: Path) -> certificates.Place:
    """What is where a certificate is to be."""
    link = os.readlink(path) if path.is_symlink() else ""
    whole = all((path / file).exists() for file in ("fullchain.pem", "privkey.pem"))
    return certificates.Place(link, path.is_dir() and not link, whole)


def ends(module: AnsibleModule, certificate: Path) -> bool:
    """Whether a certificate ends within a month; not if there is none."""
    openssl = module.get_bin_path("openssl")
    if not openssl or not certificate.exists():
        return False
    code, _out, _err = module.run_command([openssl, "x509", "-in", str(certificate), "-noout", "-checkend", str(MONTH)])
    return bool(code)


def main() -> None:
    """Look, and tell."""
    module = AnsibleModule(
        argument_spec={
            "tls_dir": {"type": "path", "required": True},
            "certificates": {"type": "list", "elements": "str", "required": True},
            "placeholder": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params, directory = module.params, Path(module.params["tls_dir"])
    code, _out, version = module.run_command([NGINX, "-V"]) if os.path.exists(NGINX) else (0, "", "")
    places = {name: place(directory / name) for name in params["certificates"]}
    module.exit_json(
        changed=False,
        version="" if code else version,
        brotli=os.path.exists(BROTLI),
        ipv6=os.path.exists(IPV6),
        **certificates.placeholders(
            places, params["placeholder"], ends(module, directory / params["placeholder"] / "fullchain.pem")
        ),
    )


if __name__ == "__main__":
    main()
