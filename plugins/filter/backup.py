# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups as filters; the rules stand in module_utils/backup/plan.py and release/gate.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import plan
from ansible_collections.kasaneha.deploy.plugins.module_utils.release import gate


class FilterModule:
    """The backup filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {"backup_problems": plan.role_problems, "health_probes": gate.probes}
