#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop what no longer serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_prune
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Stop the containers of every colour but one
description:
  - Stops the running containers of an application's other colours, each within its own C(stop_timeout).
  - Stopped containers stay, for a quick way back and for a look at a release that failed.
  - Removes the secrets that colours shared in earlier versions, once O(keep) has its own.
  - Removes images of the application's repositories that no rollback needs. That it cannot is never a failure.
options:
  app:
    description: Name of the application, as in C(app_name).
    type: str
    required: true
  keep:
    description: The colour that goes on; empty for none.
    type: str
    required: true
  run:
    description: The run of a release that does this; one that lost its lock stops and removes nothing. Left out, nobody is asked.
    type: str
    default: ""
  repositories:
    description: The services' images, with or without tag; other images are left alone.
    type: list
    elements: str
    default: []
  needed_images:
    description: IDs of images that must stay. Without any, no image is removed.
    type: list
    elements: str
    default: []
  secrets:
    description: Directory with the secrets of the colours, each in a directory of its name. Left out, none are removed.
    type: path
  shared_secrets:
    description: Directories in O(secrets) that earlier versions wrote for all colours together.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be stopped.
    support: full
  diff_mode:
    description: Shows what runs and what would run.
    support: full
"""

EXAMPLES = r"""
- name: Stop what no longer serves
  kasaneha.deploy.blue_green_prune:
    app: kasaneha
    keep: green
    run: "{{ begun.run.id }}"
"""

RETURN = r"""
stopped:
  description: Names of the containers that were stopped.
  returned: always
  type: list
  elements: str
killed:
  description: Those among them that did not end when they were asked to, and were killed when their time was over.
  returned: always
  type: list
  elements: str
removed_secrets:
  description: Directories with secrets that were removed.
  returned: always
  type: list
  elements: str
removed_images:
  description: IDs of the images that were removed.
  returned: always
  type: list
  elements: str
"""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import containers, fence, record
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import secrets as release_secrets
from ansible_collections.kasaneha.deploy.plugins.module_utils.release.fence import HeldError

KILLED = 137  # 128 + SIGKILL: the exit code of a process that was killed


def prune(module: AnsibleModule) -> dict[str, Any]:
    """Stop them; what the module returns.

    :raises RuntimeError: Docker does not do it.
    """
    app, keep = module.params["app"], module.params["keep"]
    try:
        running = [
            entry
            for entry in containers.observe(module.run_command, app)
            if entry["state"] in ("running", "restarting", "paused")
        ]
        names = [entry["name"] for entry in running if entry["colour"] != keep]
        problem = "" if module.check_mode else containers.stop(module.run_command, names)
        after = containers.observe(module.run_command, app)
    except RuntimeError as error:
        raise RuntimeError(f"The containers of {app} cannot be seen: {error}") from error
    if problem:
        raise RuntimeError(f"{', '.join(names)} cannot be stopped: {problem}")
    needed = module.params["needed_images"]
    if needed:  # and what stopped containers are made of
        needed = [*needed, *(entry["id"] for entry in after)]
    old = record.images_to_remove(containers.images(module.run_command), module.params["repositories"], needed)
    removed = [] if module.check_mode else containers.remove_images(module.run_command, old)
    secrets = module.params["secrets"]
    shared = release_secrets.shared(Path(secrets), keep, module.params["shared_secrets"]) if secrets else []
    if not module.check_mode:
        for path in shared:
            shutil.rmtree(path)
    before = sorted(entry["name"] for entry in running)
    diff = {"diff": {"before": before, "after": sorted(set(before) - set(names))}} if module._diff else {}
    killed = [entry["name"] for entry in after if entry["name"] in names and entry["exit_code"] == KILLED]
    return {
        "changed": bool(names or removed or shared),
        "stopped": names,
        "killed": killed,
        "removed_images": removed,
        "removed_secrets": [str(path) for path in shared],
        **diff,
    }


def main() -> None:
    """Stop them, if this run may."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "str", "required": True},
            "keep": {"type": "str", "required": True},
            "run": {"type": "str", "default": ""},
            "repositories": {"type": "list", "elements": "str", "default": []},
            "needed_images": {"type": "list", "elements": "str", "default": []},
            "secrets": {"type": "path"},
            "shared_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        with contextlib.nullcontext() if module.check_mode else fence.allowed(module.params["app"], module.params["run"]):
            result = prune(module)
    except (HeldError, RuntimeError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
