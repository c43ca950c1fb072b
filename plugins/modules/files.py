#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write many files at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
author: The kasaneha.deploy maintainers (@kasaneha)
version_added: 0.2.0
short_description: Write templates, files, directories and links in one step
description:
  - Brings all files of a role to their content, owner and mode in one round trip to the host, where a task for each would need one
    each.
  - Templates are rendered on the controller as by M(ansible.builtin.template). The host compares, validates and writes.
  - All new contents are validated, and all new files written beside the old ones, before the first is replaced by a rename. A
    file has its owner and mode before its name. Nothing is replaced if one is refused or the disk is full.
  - A directory that is missing above a file is made with mode V(0755). One that is to have another mode or owner is an entry before it.
  - Contents never reach a command line, the result or a log.
options:
  files:
    description: The files, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where it is on the host, from the root.
        type: str
        required: true
      state:
        description:
          - V(file) needs one of O(files[].template), O(files[].src), O(files[].content).
          - V(absent) removes what is there, a directory with all that is in it.
        type: str
        choices: [file, directory, link, absent]
        default: file
      template:
        description: A template, found as M(ansible.builtin.template) finds it.
        type: str
      src:
        description: A file on the controller, found as M(ansible.builtin.copy) finds it.
        type: str
      content:
        description: The content itself.
        type: str
      vars:
        description: Variables for this template alone.
        type: dict
      target:
        description: What a link leads to.
        type: str
      owner:
        description: Name or number of the user; by default the one who runs the module.
        type: str
      group:
        description: Name or number of the group; by default that of the one who runs the module.
        type: str
      mode:
        description: Octal number in quotes; by default V(0644), of a directory V(0755).
        type: raw
      validate:
        description:
          - A command that refuses a wrong file by its exit code, with C(%s) for the path of the new content. It runs without a shell, and
            not in check mode.
        type: str
      purge:
        description: Of a directory, remove the files in it that match this pattern and are in no other entry.
        type: str
      secret:
        description: Show neither the content nor what O(files[].validate) says of it.
        type: bool
        default: false
      when:
        description: V(false) leaves the entry out, and what is there as it is.
        type: bool
        default: true
  contents:
    description: Path to content in Base64, as JSON. The action plugin fills it; what a task says is refused.
    type: str
attributes:
  check_mode:
    description: Says what would change. A missing directory, user or group is no error, since an earlier task may bring it.
    support: full
  diff_mode:
    description: Shows each file unless it is secret, large or no text.
    support: full
"""

EXAMPLES = r"""
- name: Write the configuration of the exporter
  become: true
  kasaneha.deploy.files:
    files:
      - {path: /etc/exporter, state: directory, purge: "*.yml"}
      - {path: /etc/exporter/main.yml, template: main.yml.j2, validate: exporter --check %s}
      - {path: /etc/exporter/password, content: "{{ exporter_password }}", group: exporter, mode: "0640", secret: true}
      - {path: /etc/exporter/old.conf, state: absent}
"""

RETURN = r"""
paths:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/exporter/main.yml]
"""

import base64
import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import files


def main() -> None:
    """Compare, validate, write."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": files.SPEC},
            "contents": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    entries = module.params["files"]
    result: dict[str, Any] = {"changed": False, "paths": []}
    contents = {path: base64.b64decode(text) for path, text in json.loads(module.params["contents"] or "{}").items()}
    try:
        changes = files.plan(entries, contents)
        result["paths"] = [change.path for change in changes]
        if not module.check_mode:
            problems = files.impossible(changes)
            if not problems and any(change.validate for change in changes):
                problems = files.invalid(changes, module.tmpdir)
            if problems:
                module.fail_json(msg="\n".join(problems) + "\nNothing was changed.", **{**result, "paths": []})
            files.apply(changes)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'A file'}: {error.strerror}.", **result)
    if module._diff:
        result["diff"] = [row for change in changes for row in files.difference(change)]
    module.exit_json(**{**result, "changed": bool(changes)})


if __name__ == "__main__":
    main()
