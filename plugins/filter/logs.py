# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging as filters; the rules stand in module_utils/logs/problems.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.logs import problems


class FilterModule:
    """The logging filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {"logging_problems": problems.role_problems}
