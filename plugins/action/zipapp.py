# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install a command on a server: packed here, written there if another one is there. Documented in plugins/modules/zipapp.py."""

from __future__ import annotations

import hashlib
import tempfile
from typing import Any

from ansible import constants as C  # noqa: N812 - as all of Ansible calls it
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.kasaneha.deploy.plugins.plugin_utils import zipapp

MODE = "0755"  # a command is for everybody to see; the configuration that it reads is not
SPEC = {"module": {"type": "str", "required": True}, "dest": {"type": "path", "required": True}}


class ActionModule(ActionBase):
    """One round trip when the file is the right one already: a stat."""

    _supports_check_mode = True
    _supports_diff = True
    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Pack, compare, and let ``ansible.builtin.copy`` write."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, given = self.validate_argument_spec(SPEC)
        module, dest = given["module"], given["dest"]
        try:
            packed = zipapp.pack(module)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        there = self._execute_remote_stat(dest, task_vars, follow=True)
        if there.get("isdir"):
            raise AnsibleActionFail(f"dest: {dest} is a directory. Name the file.")
        # SHA-1 is what stat tells and copy compares; nobody's trust rests on it.
        checksum = hashlib.sha1(packed, usedforsecurity=False).hexdigest()
        result |= {"dest": dest, "checksum": checksum, "changed": False}
        if there.get("checksum") == checksum and there.get("mode") == MODE:
            return result
        result |= self._copied(packed, dest, task_vars)
        if self._task.diff and result["changed"]:
            before = f"{module}, checksum {there['checksum']}, mode {there['mode']}\n" if there.get("exists") else ""
            after = f"{module}, checksum {checksum}, mode {MODE}\n"
            result["diff"] = {"before": before, "after": after, "before_header": dest, "after_header": dest}
        return result

    def _copied(self, packed: bytes, dest: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """What the copy says; its diff would be that of a binary file."""
        with tempfile.NamedTemporaryFile(dir=C.DEFAULT_LOCAL_TMP) as file:
            file.write(packed)
            file.flush()
            task = self._task.copy()
            task.args = {"src": file.name, "dest": dest, "mode": MODE}
            task.diff = False
            copy = self._shared_loader_obj.action_loader.get(
                "ansible.builtin.copy",
                task=task,
                connection=self._connection,
                play_context=self._play_context,
                loader=self._loader,
                templar=self._templar,
                shared_loader_obj=self._shared_loader_obj,
            )
            said: dict[str, Any] = copy.run(task_vars=task_vars)
        return {key: value for key, value in said.items() if key not in ("diff", "invocation")}
