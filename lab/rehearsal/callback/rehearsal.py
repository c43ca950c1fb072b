# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of a playbook did, as a file: what changed, what failed and why, what was shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: rehearsal
type: aggregate
short_description: Writes what a run did into a file
description:
  - Writes changes, failures and shown messages to the file that C(REHEARSAL_RESULT) names.
"""


class CallbackModule(CallbackBase):
    """Collects, and writes at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "rehearsal"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changed: list[str] = []
        self.failed: list[dict[str, str]] = []
        self.shown: list[dict[str, Any]] = []

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task that ended well."""
        outcome, where = result._result, result._host.get_name()
        if outcome.get("changed"):
            self.changed.append(f"{where}: {result._task.get_name()}")
        if result._task.action in ("debug", "ansible.builtin.debug") and "msg" in outcome:
            self.shown.append({"host": where, "task": result._task.get_name(), "msg": outcome["msg"]})

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task that failed; one that is rescued is followed by others."""
        if not ignore_errors:
            self.note(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host that does not answer."""
        self.note(result)

    def note(self, result: Any) -> None:
        """Why it failed: of a loop, what its items say."""
        outcome = result._result
        items = [
            one for one in outcome.get("results", []) if isinstance(one, dict) and (one.get("failed") or one.get("unreachable"))
        ]
        texts = [str(one.get("msg") or one.get("stderr") or "") for one in items or [outcome]]
        if outcome.get("stderr") and not outcome.get("msg", "").strip(". "):
            texts = [outcome["stderr"]]
        task = result._task.get_name()
        self.failed.append({"host": result._host.get_name(), "task": task, "msg": "\n".join(dict.fromkeys(filter(None, texts)))})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the file."""
        file = os.environ.get("REHEARSAL_RESULT")
        if file:
            hosts = {host: stats.summarize(host) for host in stats.processed}
            Path(file).write_text(
                json.dumps({"changed": self.changed, "failed": self.failed, "shown": self.shown, "hosts": hosts}, default=str)
            )
