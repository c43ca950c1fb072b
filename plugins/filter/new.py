# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory for a new application as filters; the rules stand in module_utils/inventory/new.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.inventory import new


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {"new_description": new.described, "new_problems": new.problems}
