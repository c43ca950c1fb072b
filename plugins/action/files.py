# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render all files on the controller; the module of the same name, which documents this, writes them in one round trip."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.converters import to_bytes
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible_collections.kasaneha.deploy.plugins.module_utils.io import files


class ActionModule(ActionBase):
    """The action plugin."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """See the documentation of the module."""
        del tmp
        task_vars = task_vars or {}
        super().run(None, task_vars)
        _result, arguments = self.validate_argument_spec(
            {"files": {"type": "list", "elements": "dict", "required": True, "options": files.SPEC}}
        )
        entries = [entry for entry in arguments["files"] if entry["when"]]
        problems = files.problems(entries)
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        contents = {
            entry["path"]: base64.b64encode(self.content(entry, task_vars)).decode()
            for entry in entries
            if entry["state"] == "file"
        }
        # What is left of an entry is in the log of the host; the contents are one argument that no log has.
        left = [
            {key: value for key, value in entry.items() if key not in ("content", "vars") and value is not None}
            for entry in entries
        ]
        try:
            return self._execute_module(
                module_name="kasaneha.deploy.files",
                module_args={"files": left, "contents": json.dumps(contents) if contents else None},
                task_vars=task_vars,
            )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def content(self, entry: Mapping[str, Any], task_vars: dict[str, Any]) -> bytes:
        """The bytes of a file.

        :raises AnsibleError: it is not found, or cannot be rendered.
        """
        if entry["content"] is not None:
            return to_bytes(entry["content"], errors="surrogate_or_strict")
        if entry["src"] is not None:
            with open(self._loader.get_real_file(self._find_needle("files", entry["src"])), "rb") as file:
                return file.read()
        return self.rendered(entry, task_vars)

    def rendered(self, entry: Mapping[str, Any], task_vars: dict[str, Any]) -> bytes:
        """A template, as ansible.builtin.template renders it: the same search path, settings and variables."""
        source = self._find_needle("templates", entry["template"])
        above = [*task_vars.get("ansible_search_path", []), self._loader._basedir, os.path.dirname(source)]
        described = generate_ansible_template_vars(path=entry["template"], fullpath=source, dest_path=entry["path"])
        if "ansible_managed" in task_vars:
            described.pop("ansible_managed", None)
        templar = self._templar.copy_with_new_env(
            searchpath=[path for folder in above for path in (os.path.join(folder, "templates"), folder)],
            available_variables={**task_vars, **described, **(entry["vars"] or {})},
        )
        text = templar.template(
            trust_as_template(self._loader.get_text_file_contents(source)),
            escape_backslashes=False,
            overrides={"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"},
        )
        return to_bytes("" if text is None else text, errors="surrogate_or_strict", nonstring="simplerepr")
