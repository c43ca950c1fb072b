# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging as filters; the rules stand in module_utils/_logs_plan.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils import _logs_plan


class FilterModule:
    """The logging filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {"logging_problems": _logs_plan.role_problems}
