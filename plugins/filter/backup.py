# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups as filters; the rules stand in module_utils/_backup_plan.py and _gate.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _backup_plan, _gate


class FilterModule:
    """The backup filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {"backup_problems": _backup_plan.role_problems, "health_probes": _gate.probes}
