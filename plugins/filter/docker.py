# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins at image registries as filters; the rules stand in module_utils/docker/registry.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.docker import registry


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "login_failures": registry.login_failures,
            "needed_logins": registry.needed_logins,
        }
