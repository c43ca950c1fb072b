#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let nginx load the configuration on disk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_loaded
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.2.0
short_description: Let nginx load the configuration on disk, unless it has
description:
  - Asks nginx which configuration its workers have, by the hash that stands in it, and reloads nginx if that is another one than on
    disk. So a reload that a killed run never made, or that failed, is made up for.
  - Fails if nginx goes on with another configuration, or does not answer for a site.
options:
  path:
    description: The configuration.
    type: path
    default: /etc/nginx/nginx.conf
  port:
    description: The port on which nginx says what it has loaded, as in C(nginx_status_port).
    type: int
    required: true
  names:
    description: A name of each site that must answer.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says whether nginx would be reloaded.
    support: full
  diff_mode:
    description: Shows nothing.
    support: none
"""

EXAMPLES = r"""
- name: Prove that nginx has loaded its configuration and answers for each site
  kasaneha.deploy.edge_loaded:
    port: 8090
    names: [kasaneha.app, api.kasaneha.app]
"""

RETURN = r"""
configuration:
  description: The hash of the configuration that nginx has.
  returned: success
  type: str
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import loaded
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import http

LOAD = 5  # seconds for a reload that is under way
ANSWER = 10  # seconds for the sites
PAUSE = 0.25


def comes(look: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true in time."""
    ends = time.monotonic() + seconds
    while not look():
        if time.monotonic() > ends:
            return False
        time.sleep(PAUSE)
    return True


def healthy(name: str) -> bool:
    """Whether nginx answers for a site."""
    answer = http.Server("127.0.0.1").ask(name, "/health", tls=False)
    return answer.status == 200 and "healthy" in answer.body


def main() -> None:
    """Ask, reload, ask again."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/nginx/nginx.conf"},
            "port": {"type": "int", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path, url = Path(module.params["path"]), f"http://127.0.0.1:{module.params['port']}/configuration"
    wanted = loaded.configuration_hash(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else ""

    def current() -> bool:
        return bool(wanted) and http.fetch(url)[1].decode(errors="replace").strip() == wanted

    if module.check_mode:
        module.exit_json(changed=not current(), configuration=wanted)
    changed = not comes(current, LOAD)
    if changed:
        code, _out, error = module.run_command(["systemctl", "reload", "nginx.service"])
        if code or not comes(current, LOAD):
            module.fail_json(
                msg="nginx still serves with the configuration before this one: the reload failed. "
                f"`journalctl -u nginx` and /var/log/nginx/error.log on the server say why. {error}".strip()
            )
    silent = [name for name in module.params["names"] if not comes(functools.partial(healthy, name), ANSWER)]
    if silent:
        module.fail_json(
            msg=f"nginx does not answer http://127.0.0.1/health for {', '.join(silent)}. /var/log/nginx/error.log on the server says why.",
            changed=changed,
        )
    module.exit_json(changed=changed, configuration=wanted)


if __name__ == "__main__":
    main()
