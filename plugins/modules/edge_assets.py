#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish the hashed assets of a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_assets
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.1.0
short_description: Publish the hashed assets of a release on an edge
description:
  - Puts files of an archive where the edge serves them, and removes those that no release in O(keep) brought.
  - A file comes under its name by one rename when its bytes are on the disk. nginx can read it whatever its mode in the archive is.
  - Never do other bytes come under a name that a published release has; such a release is refused and nothing is changed.
  - A run that is cut off leaves nothing that blocks the next one.
options:
  path:
    description: Directory with the assets of this edge, as in C(nginx_assets_dir).
    type: path
    required: true
  archive:
    description: Tar archive on this host with the files, as C(docker cp) makes it.
    type: path
    required: true
  release:
    description: The release that they belong to.
    type: str
    required: true
  image:
    description: ID of the image that they come from. M(kasaneha.deploy.blue_green_info) tells it again.
    type: str
    required: true
  keep:
    description: Releases whose files stay, besides O(release).
    type: list
    elements: str
    default: []
  app:
    description: Name of the application, for O(run).
    type: str
  run:
    description: The run of a release that this belongs to. One that lost its lock is refused, and changes nothing.
    type: str
attributes:
  check_mode:
    description: Cannot tell without unpacking, and does nothing.
    support: none
  diff_mode:
    description: Shows nothing; see RV(written) and RV(removed).
    support: none
"""

EXAMPLES = r"""
- name: Publish the assets
  kasaneha.deploy.edge_assets:
    path: /var/www/kasaneha
    archive: /var/lib/kasaneha/assets.tar
    release: v1.1.0
    image: sha256:0b1e...
    keep: [v1.0.0]
"""

RETURN = r"""
written:
  description: Names of the files that were written, below the directory C(assets).
  returned: success
  type: list
  elements: str
removed:
  description: Names of the files that were removed.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.edge import assets
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import fence


def main() -> None:
    """Publish them."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "archive": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "keep": {"type": "list", "elements": "str", "default": []},
            "app": {"type": "str"},
            "run": {"type": "str"},
        },
        required_by={"run": ["app"]},
    )
    params, directory = module.params, Path(module.params["path"])
    try:
        with fence.allowed(params["app"], params["run"]):
            result = assets.publish(
                directory, Path(params["archive"]), params["release"], params["image"], {params["release"], *params["keep"]}
            )
    except fence.HeldError as error:
        module.fail_json(msg=str(error))
    except ValueError as error:
        module.fail_json(msg=f"The assets of {params['release']} cannot be published: {error}")
    except OSError as error:
        module.fail_json(
            msg=f"The assets of {params['release']} cannot be published: {error.filename or directory}: {error.strerror}. "
            "Is the disk full, or the directory gone? What is served was not touched; release again when that is fixed."
        )
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
