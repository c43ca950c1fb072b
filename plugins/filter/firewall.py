# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the firewall as filters; what they do stands in module_utils/firewall/rules.py."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.kasaneha.deploy.plugins.module_utils.firewall import rules


class FilterModule:
    """The firewall's filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter name -> function."""
        return {
            "firewall_normalised": rules.normalised,
        }
