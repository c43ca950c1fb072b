# SPDX-License-Identifier: GPL-3.0-or-later
# Private to this collection: may change at any time.
"""What the backup modules share: their common options, and how the engine's failures become theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.engine import Engine
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import BackupError
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.postgres import put_away
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.sets import configuration


class BackupModule(AnsibleModule):
    """A module that does one thing to the backups of an application."""

    def __init__(self, options: dict[str, Any], wait: bool = True) -> None:
        common: dict[str, Any] = {"app": {"type": "str", "required": True}}
        if wait:
            common["wait"] = {"type": "int", "default": 0}
        super().__init__(argument_spec={**common, **options}, supports_check_mode=True)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The engine of the application; what it cannot do fails the module."""
        try:
            with put_away():
                yield Engine(configuration(f"/etc/{self.params['app']}/backup.json"))
        except BackupError as error:
            self.fail_json(msg=str(error), code=error.code)

    def done(self, engine: Engine, result: dict[str, Any], before: Any, after: Any) -> None:
        """End well, with a diff if one is wanted."""
        for note in engine.notes:
            self.warn(note)
        diff = {"diff": {"before": before, "after": after}} if self._diff else {}
        self.exit_json(**result, notes=engine.notes, **diff)
