#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_info
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Tell what a host serves, and what its records say
description:
  - Reads the record of releases, the run that is under way, the containers of an application's releases and the colour that
    the edge of this host serves.
  - Changes nothing.
options:
  app:
    description: Name of the application, as in C(app_name).
    type: str
    required: true
  edge:
    description: Directory with the state of this host's edge, as in C(nginx_state_dir). Left out, the host is no edge.
    type: path
  assets:
    description: Directory with the assets that this host's edge serves, as in C(nginx_assets_dir).
    type: path
  log_lines:
    description: How many lines of the log of releases to return.
    type: int
    default: 0
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read what serves
  kasaneha.deploy.blue_green_info:
    app: kasaneha
    edge: /var/lib/kasaneha/edge
  register: shown
"""

RETURN = r"""
record:
  description: The record of releases on this host; empty when there is none.
  returned: always
  type: dict
  sample: {release: v1.1.0, colour: green, since: "2026-11-24T05:00:00Z"}
record_problem:
  description: Why the record cannot be read; empty when it can, or is not there.
  returned: always
  type: str
run:
  description: The run that is under way, with its owner; empty when there is none.
  returned: always
  type: dict
fence:
  description: The run that may change this host; empty when none was here yet.
  returned: always
  type: str
freeze:
  description: Who asked that nothing be released, since when and why; empty when nobody did.
  returned: always
  type: dict
containers:
  description: Containers of all colours with name, service, colour, release, image, state and health.
  returned: always
  type: list
  elements: dict
engine:
  description: Whether Docker is installed here.
  returned: always
  type: bool
edge:
  description: What the edge serves; empty when the host is none.
  returned: always
  type: dict
  sample: {colour: green, maintenance: false, state: states/4, uncommitted: "", previous: ""}
assets:
  description:
    - Release to ID of the image whose assets are published here; empty without O(assets).
    - The ID is empty where an earlier version of the collection published them.
  returned: always
  type: dict
  sample: {v1.1.0: "sha256:0b1e..."}
log:
  description: The last lines of the log of releases, newest first.
  returned: always
  type: list
  elements: dict
processors:
  description: How many processors this host has.
  returned: always
  type: int
now:
  description: The clock of this host, in seconds since the epoch.
  returned: always
  type: float
"""

import os
import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import assets, state
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import containers as release_containers
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.journal import Releases


def main() -> None:
    """Read, and tell."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "edge": {"type": "path"},
            "assets": {"type": "path"},
            "log_lines": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    app = module.params["app"]
    releases = Releases(Path("/var/lib") / app)
    record, record_problem = {}, ""
    try:
        record = releases.record() or {}
    except ValueError as error:
        record_problem = str(error)
    containers = []
    if shutil.which("docker"):  # a host that is an edge only has none
        try:
            containers = release_containers.observe(module.run_command, app)
        except RuntimeError as error:
            # Where nothing was released yet, Docker's installation may have been cut short: that is for the role docker to fix.
            if record or record_problem:
                module.fail_json(msg=f"The containers of {app} cannot be seen: {error}")
        if containers and not record:
            containers = release_containers.with_images(module.run_command, containers)  # the record is rebuilt from them
    module.exit_json(
        record=record,
        record_problem=record_problem,
        run=releases.run() or {},
        fence=releases.fence.id(),
        freeze=releases.freeze() or {},
        containers=containers,
        engine=bool(shutil.which("docker")),
        edge=state.observe(Path(module.params["edge"])) if module.params["edge"] else {},
        assets=assets.published(Path(module.params["assets"])) if module.params["assets"] else {},
        log=releases.last(module.params["log_lines"]) if module.params["log_lines"] else [],
        processors=os.cpu_count() or 0,
        now=time.time(),
    )


if __name__ == "__main__":
    main()
