# SPDX-License-Identifier: GPL-3.0-or-later
"""Says at the end of a run which tasks changed something, and keeps the list for the scenario's checks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: changed
type: aggregate
short_description: Names the tasks that changed something
description:
  - Prints them at the end of a run, and writes them to C(changed-<playbook>.json) in molecule's directory of the scenario.
"""


class CallbackModule(CallbackBase):
    """Collects `host: task (item)` of what changed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "changed"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changed: list[str] = []
        self.playbook = ""

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.playbook = Path(playbook._file_name).stem

    def v2_runner_on_ok(self, result: Any) -> None:
        outcome = result._result
        if not outcome.get("changed"):
            return
        items = [
            str(one.get("_ansible_item_label", one.get("item", ""))) for one in outcome.get("results", []) if one.get("changed")
        ]
        name = f"{result._host.get_name()}: {result._task.get_name()}"
        self.changed += [f"{name} ({item})" for item in items] or [name]

    def v2_playbook_on_stats(self, stats: Any) -> None:
        directory = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
        if directory:
            Path(directory, f"changed-{self.playbook}.json").write_text(json.dumps(self.changed, indent=1) + "\n")
        if self.changed:
            self._display.display("changed:\n" + "\n".join(f"  {line}" for line in self.changed))
